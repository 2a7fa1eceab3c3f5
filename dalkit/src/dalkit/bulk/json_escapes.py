"""Escapes in the strings of JSON, which CSV has not: line breaks, tabs, characters by number."""

import re

from pydantic_core import from_json

from .csv_values import with_escapes

#: A quoted value with a backslash. Between a string's end and the next one's start there is none,
#: so a match cannot begin at a closing quote.
_ESCAPED = re.compile(rb'("[^"\\]*+(?:\\.[^"\\]*+)++")')

#: An escape that COPY does not know (or an escaped backslash and a character: no harm is done).
_UNKNOWN = re.compile(rb'\\[^"\\]')

#: Between rows, and between values: PostgreSQL's text cannot have it.
_NUL = b"\0"


def unescaped(rows: list[bytes], lines: bytes) -> list[bytes]:
    """The rows, which were made of `lines`, with characters in the place of escapes.

    COPY itself understands an escaped quote and backslash. Raises ValueError when there is an
    escape that JSON does not know, a NUL or a lone surrogate.
    """
    if not _UNKNOWN.search(lines):
        return rows
    places = [place for place, row in enumerate(rows) if b"\\" in row]
    if not places:  # it is a key that has one
        return rows
    changed = _all_unescaped(_NUL.join([rows[place] for place in places])).split(_NUL)
    for place, row in zip(places, changed, strict=True):
        rows[place] = row
    return rows


def _all_unescaped(text: bytes) -> bytes:
    parts = _ESCAPED.split(text)
    values: list[str] = from_json(b"[%b]" % b",".join(parts[1::2]))
    escaped = with_escapes("\0".join(values)).replace("\0", '"\0"')
    # ValueError when there are more than before: a value has a NUL.
    parts[1::2] = f'"{escaped}"'.encode().split(_NUL)
    return b"".join(parts)
