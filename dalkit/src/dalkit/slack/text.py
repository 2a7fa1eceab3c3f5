"""Untrusted text made safe and short enough for Slack."""

import re

# Control characters, line separators, bidirectional overrides and lone surrogates: they break JSON
# decoders or let a text show something other than what it says.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_BROADCAST = re.compile(r"@(?=channel|here|everyone)", re.IGNORECASE)
_PARTIAL_ENTITY = re.compile(r"&[a-z]{0,3}$")
_ZERO_WIDTH_SPACE = "\u200b"
_ELLIPSIS = "…"
_FENCE = "```"


def clean(text: str) -> str:
    """Return `text` with every unprintable character replaced by U+FFFD, one for one."""
    return _UNPRINTABLE.sub("\ufffd", text)


def escape(text: str) -> str:
    """Return `text` without any Slack control sequence: no mention, no link, no entity.

    Escaping `& < >` disarms `<!channel>` and `<url|text>` (Slack, "Formatting text"); the zero
    width spaces keep Slack from turning a bare `@here` or URL into a mention or a link.
    """
    text = text.translate(_ENTITIES)
    text = _BROADCAST.sub("@" + _ZERO_WIDTH_SPACE, text)
    return text.replace("://", ":" + _ZERO_WIDTH_SPACE + "//")


def fit(text: str, limit: int) -> str:
    """Return `text` cleaned and escaped, at most `limit` characters long after escaping."""
    escaped = escape(clean(text[: limit + 1]))
    if len(escaped) <= limit:
        return escaped
    return _PARTIAL_ENTITY.sub("", escaped[: limit - len(_ELLIPSIS)]) + _ELLIPSIS


def fence(text: str, limit: int) -> str:
    """Return `text` as a code block of at most `limit` characters that it cannot break out of."""
    inner = fit(text.replace("`", "'"), limit - 2 * len(_FENCE) - 2)
    return f"{_FENCE}\n{inner}\n{_FENCE}"


_NAMED = (
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|(?:api|access|private)[-_]?key"
    r"|credential|signature|session|cookie)[\w-]{0,40}[\"']?"
)
_VENDORS = "eyJ|[spr]k[-_](?:live|test|proj|ant)|xox[a-z]-|gh[pousr]_|github_pat_|glpat-|AKIA|AIza"
_SECRETS = [
    re.compile(expression, re.IGNORECASE | re.DOTALL)
    for expression in (
        r"(-----BEGIN ).*",
        r"((?:authorization|cookie)[\"']?\s{0,4}[=:])[^\n]*",
        r"(://)(?:[^\s'\"<>]*@|[^\s:/@]*:[^\s/@]*[^\s/@\d][^\s/@]*\Z)",  # or cut before the @
        r"(\bhooks\.slack\.com/)[^\s'\"]+",
        r"(\b(?:bearer|basic)\s)\s*(?:[\w.~+/=-]{6,}|[\w.~+/=-]+\Z)",
        rf"()\b(?:{_VENDORS})[\w.-]{{4,}}",
        rf"({_NAMED}\s{{0,4}}[=:,]\s{{0,4}})b?(?:\"[^\"]*\"?|'[^']*'?)",
        rf"({_NAMED}(?:=|:\s?))[^\s'\",;&)\]\[]+",  # not `token = ...`, which is code
    )
]


def mask(text: str) -> str:
    """Return `text`, or a line of code, without what looks like a secret.

    Cut it first: a search may take quadratic time.
    """
    for secret in _SECRETS:
        text = secret.sub(r"\1[redacted]", text)
    return text
