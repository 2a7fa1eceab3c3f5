"""Untrusted text made safe and short enough for Slack."""

import re

# Control characters, line separators, bidirectional overrides and lone surrogates: they break JSON
# decoders or let a text show something other than what it says.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def escape(text: str) -> str:
    """Return `text` without any Slack control sequence: no mention, no link, no entity.

    Escaping `& < >` disarms `<!channel>` and `<url|text>` (Slack, "Formatting text"); the zero
    width spaces keep Slack from turning a bare `@here` or URL into a mention or a link.
    """
    text = text.translate(_ENTITIES).replace("://", ":\u200b//")
    return re.sub("(?i)@(?=channel|here|everyone)", "@\u200b", text)


def fit(text: str, limit: int) -> str:
    """Return `text` escaped, without control characters, in at most `limit` characters."""
    escaped = escape(_UNPRINTABLE.sub("\ufffd", text[: limit + 1]))
    if len(escaped) <= limit:
        return escaped
    return re.sub("&[a-z]{0,3}$", "", escaped[: limit - 1]) + "…"  # no half of an entity


def fence(text: str, limit: int) -> str:
    """Return `text` as a code block of at most `limit` characters that it cannot break out of."""
    inner = fit(text.replace("`", "'"), limit - len("```\n\n```"))
    return f"```\n{inner}\n```"


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
