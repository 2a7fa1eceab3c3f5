"""Lines with the same keys in the same order, split by one regular expression.

A JSON string without a backslash is a quoted CSV value as it stands; numbers, true and false need
no quotes. What does not match (nested values, a line of another shape) is read by `json`, which is
several times slower.
"""

import json
import re
from collections.abc import Callable, Mapping
from operator import itemgetter

from pydantic_core import from_json

from .csv_values import Kind, quoted

Row = tuple[bytes, ...]

# Possessive throughout: no line takes more than one pass. Where alternatives begin with different
# characters, the engine does not try them all.
_SPACE = rb"[ \t]?+"
_STRING = rb'"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+"'
_NUMBER = rb"(?:[1-9][0-9]*+|0|-(?:0|[1-9][0-9]*+))(?:\.[0-9]++)?+(?:[eE][-+]?[0-9]++)?+"
_OTHER = _NUMBER + rb"|true|false"
_VALUE: dict[Kind, bytes] = {"plain": _STRING + b"|" + _OTHER, "json": _OTHER, "array": rb"(?!)"}

#: A quoted value with a backslash. Between a string's end and the next one's start there is none,
#: so a match cannot begin at a closing quote.
_ESCAPED = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)++"')


class Shape:
    """The sequence of keys of some lines, and the columns that COPY expects."""

    def __init__(self, keys: tuple[str, ...], kinds: Mapping[str, Kind]) -> None:
        in_order = keys == tuple(kinds) and len(keys) > 1
        members = (_member(key, kinds[key]) for key in keys)
        body = (_SPACE + b"," + _SPACE).join(members)
        end = rb"[ \t\r]*+" if in_order else rb"[ \t\r]*+()"
        whole = b"".join((rb"^\{", _SPACE, body, _SPACE, rb"\}", end, b"$"))
        self._pattern = re.compile(whole, re.MULTILINE)
        self._arrange = None if in_order else _arrangement(keys, tuple(kinds))

    def csv(self, lines: bytes, end: bytes) -> bytes | None:
        """The lines as rows that end with `end`, or None when one of them needs a closer look."""
        found: list[Row] = self._pattern.findall(lines)
        if len(found) != lines.count(b"\n") + 1:
            return None
        rows = list(map(b",".join, map(self._arrange, found) if self._arrange else found))
        if b"\\" in lines:
            try:
                rows = [_ESCAPED.sub(_unescape, row) if b"\\" in row else row for row in rows]
            except ValueError:
                return None
        rows.append(b"")
        return end.join(rows)


def _member(key: str, kind: Kind) -> bytes:
    name = re.escape(json.dumps(key, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return b"%b%b:%b(?:(%b)|null)" % (name, _SPACE, _SPACE, _VALUE[kind])


def _arrangement(keys: tuple[str, ...], columns: tuple[str, ...]) -> Callable[[Row], Row]:
    """The pattern's last group is empty: it stands for a column that the lines do not have."""
    wanted = [keys.index(column) if column in keys else -1 for column in columns]
    if len(wanted) == 1:
        return lambda row: (row[wanted[0]],)
    return itemgetter(*wanted)


def _unescape(value: re.Match[bytes]) -> bytes:
    return quoted(from_json(value[0]))
