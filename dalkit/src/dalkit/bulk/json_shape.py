"""Lines with the same keys in the same order, split by one regular expression.

A JSON string without a backslash is a quoted CSV value as it stands, and with CSV's escape set to a
backslash, so is one that escapes only quotes and backslashes; numbers, true and false need no
quotes. What does not match (nested values, a line of another shape or with unusual white space) is
read by `json`, which is several times slower.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from operator import itemgetter

from .csv_values import Kind
from .json_escapes import unescaped

Row = tuple[bytes, ...]

# Possessive throughout: no line takes more than one pass. Where alternatives begin with different
# characters, the engine does not try them all.
_SPACE = rb" ?+"
_STRING = rb'"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+"'
_NUMBER = rb"(?:[1-9][0-9]*+|0|-(?:0|[1-9][0-9]*+))(?:\.[0-9]++)?+(?:[eE][-+]?[0-9]++)?+"
_OTHER = _NUMBER + rb"|true|false"

#: A string of lines that have no backslash and no control character: the engine is twice as fast
#: with a single excluded byte. It may run into the next line, and then there is a match too few.
_BARE_STRING = rb'"[^"]*+"'
_CONTROLS = bytes(byte for byte in range(32) if byte != ord("\n"))


class Shape:
    """The sequence of keys of some lines, and the columns that COPY expects."""

    def __init__(self, keys: tuple[str, ...], kinds: Mapping[str, Kind]) -> None:
        self._members = {key: kinds[key] for key in keys}
        in_order = keys == tuple(kinds) and len(keys) > 1
        self._end = rb"[ \t\r]*+" if in_order else rb"[ \t\r]*+()"
        self._arrange = None if in_order else _arrangement(keys, tuple(kinds))

    def rows(self, lines: bytes) -> list[bytes] | None:
        """The lines as rows of CSV, or None when one of them needs a closer look."""
        pattern = self._bare if _is_bare(lines) else self._any
        found: list[Row] = pattern.findall(lines)
        if len(found) != lines.count(b"\n") + 1:
            return None
        rows = list(map(b",".join, map(self._arrange, found) if self._arrange else found))
        try:
            return unescaped(rows, lines)
        except ValueError:
            return None

    @cached_property
    def _bare(self) -> re.Pattern[bytes]:
        return self._pattern(_BARE_STRING)

    @cached_property
    def _any(self) -> re.Pattern[bytes]:
        return self._pattern(_STRING)

    def _pattern(self, string: bytes) -> re.Pattern[bytes]:
        values: dict[Kind, bytes] = {
            "plain": string + b"|" + _OTHER,
            "json": _OTHER,
            "array": rb"(?!)",
            "number": _OTHER,
        }
        members = (_member(key, values[kind]) for key, kind in self._members.items())
        body = (b"," + _SPACE).join(members)
        return re.compile(rb"^\{" + body + rb"\}" + self._end + b"$", re.MULTILINE)


def _is_bare(lines: bytes) -> bool:
    return b"\\" not in lines and len(lines.translate(None, _CONTROLS)) == len(lines)


def _member(key: str, value: bytes) -> bytes:
    name = re.escape(json.dumps(key, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return b"%b:%b(?:(%b)|null)" % (name, _SPACE, value)


def _arrangement(keys: tuple[str, ...], columns: tuple[str, ...]) -> Callable[[Row], Row]:
    """The pattern's last group is empty: it stands for a column that the lines do not have."""
    wanted = [keys.index(column) if column in keys else -1 for column in columns]
    if len(wanted) == 1:
        return lambda row: (row[wanted[0]],)
    return itemgetter(*wanted)
