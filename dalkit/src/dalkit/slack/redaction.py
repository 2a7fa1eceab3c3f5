"""Removes secrets from texts that leave the service."""

import re
from collections.abc import Iterable
from typing import Any

MASK = "[redacted]"

# A longer text is cut before the search: patterns stay fast on a 1 MB message.
_WINDOW = 8_000

_SENSITIVE = (
    r"(?<![\w-])[\w-]{0,40}?(?:passw(?:or)?d|pwd|passphrase|secret|token|api[-_]?key|"
    r"credential|authorization|cookie|session|private[-_]?key|access[-_]?key|signature)[\w-]{0,40}"
)
_QUOTED = r"""b?(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
_NOT_UUID = r"(?<![\w=+-])(?![0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![\w-]))"


def _pattern(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.IGNORECASE)


def _url(match: re.Match[str]) -> str:
    """Keep the scheme and host of a web address, nothing of any other (database) URL."""
    scheme, rest = match["scheme"], match["rest"]
    if scheme.lower() not in ("http", "https"):
        return f"{scheme}://{MASK}"
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    return f"{scheme}://{host}" + ("/…" if len(rest) > len(authority) else "")


_Replacement = tuple[re.Pattern[str], Any]

# Safe for source lines too: only what can be a literal secret.
_LITERALS: tuple[_Replacement, ...] = (
    (_pattern(r"(?s)-----BEGIN [A-Z ]{1,40}-----.*?(?:-----END [A-Z ]{1,40}-----|\Z)"), MASK),
    (
        _pattern(r"(?<![a-z0-9+.-])(?P<scheme>[a-z][a-z0-9+.-]{1,30})://(?P<rest>[^\s'\"<>]*)"),
        _url,
    ),
    (_pattern(r"(?<![\w.-])[^\s:/@'\"]{1,64}:[^\s:/@'\"]{1,128}@[\w.-]+"), MASK),
    (_pattern(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}"), rf"\1 {MASK}"),
    (_pattern(r"\beyJ[\w-]{5,}(?:\.[\w-]*){0,4}"), MASK),
    (
        _pattern(
            r"\b(?:[spr]k[-_](?:live|test|proj|ant)[\w-]{8,}|xox[a-z]-[\w-]{8,}|gh[pousr]_\w{16,}"
            r"|github_pat_\w{8,}|glpat-[\w-]{8,}|AKIA[0-9A-Z]{12,}|AIza[\w-]{20,})"
        ),
        MASK,
    ),
    (_pattern("(" + _SENSITIVE + r"[\"']?\s{0,4}[=:,]\s{0,4})" + _QUOTED), rf"\1{MASK}"),
)

# Only for messages: on source lines these would hide the code itself.
_VALUES: tuple[_Replacement, ...] = (
    (_pattern(r"(?s)\[(?:SQL|parameters):.*"), "[SQL removed]"),  # SQLAlchemy
    (_pattern(r"(?m)^[ \t]*DETAIL:.*"), f"DETAIL: {MASK}"),  # PostgreSQL
    (_pattern(r"\)=\([^)]*\)"), f")=({MASK})"),  # PostgreSQL: Key (email)=(...)
    (_pattern(r"(?m)(input_value=).*?(?=, input_type=|$)"), rf"\1{MASK}"),  # pydantic
    (_pattern(r"\b((?:set-)?cookie|authorization)\s{0,4}[=:].*"), rf"\1: {MASK}"),
    (_pattern("(" + _SENSITIVE + r"[\"']?\s{0,4}[=:]\s{0,4})[^\s,;&)\]]+"), rf"\1{MASK}"),
    (_pattern(r"[\w.+-]{1,64}@[\w-]{1,64}\.[\w.-]{2,64}"), "[email]"),
    (_pattern(_NOT_UUID + r"(?=[\w=+-]*[0-9])(?=[\w=+-]*[a-z])[a-z0-9_=+-]{32,}"), MASK),
)


def redact(text: str, known: re.Pattern[str] | None = None) -> str:
    """Return a message without secrets: `known` values first, then everything that looks like one.

    Texts over 8,000 characters are cut there, at a space, so that no half of a secret remains.
    """
    if len(text) > _WINDOW:
        text = text[:_WINDOW].rpartition(" ")[0] or text[: _WINDOW // 10]
    if known is not None:
        text = known.sub(MASK, text)
    return _substitute(_substitute(text, _LITERALS), _VALUES)


def redact_source(line: str) -> str:
    """Return a line of source code without the secrets that somebody typed into it."""
    return _substitute(line[:500], _LITERALS)


def _substitute(text: str, replacements: Iterable[_Replacement]) -> str:
    for pattern, replacement in replacements:
        text = pattern.sub(replacement, text)
    return text
