"""Plain lines of JSON, turned into COPY's text by a regular expression instead of a parser."""

import json
import re
from collections.abc import Callable
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import JSON, Boolean, Numeric, Table
from sqlalchemy import Integer as IntegerType
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.types import TypeEngine

from .staging import Object

#: Shapes that are known at a time; lines of others are parsed.
MOST = 8

_NULL = rb"\N"
_CHARACTERS = rb'[^"\\\x00-\x1f]*+'
_FRACTION = rb"(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+"
#: A value that stands for itself; -0 is 0 when it is an integer.
_BARE = rb"((?!-0[ ,}])-?(?:0|[1-9][0-9]*+)" + _FRACTION + rb"|true|false)"
_TEXT = rb'"(' + _CHARACTERS + rb')"'
_QUOTED = rb'("' + _CHARACTERS + rb'")'
_END = rb"\}[ \t\r]*+\n"


class _Shape(NamedTuple):
    """Which keys follow each other, and what each value is: text, or a number or boolean."""

    match: Callable[[bytes, int], re.Match[bytes] | None]
    pick: Callable[[tuple[bytes, ...]], tuple[bytes, ...]] | None


class PlainLines:
    """Finds lines that are like an earlier one, and have no escapes and nothing nested in them.

    What JSON and COPY write alike needs no parsing: numbers, booleans, and text without escapes.
    """

    def __init__(self, table: Table) -> None:
        self._places = {column.name: place for place, column in enumerate(table.c)}
        self._types = {column.name: _base(column.type) for column in table.c}
        self._shapes: list[_Shape] = []
        self._known: set[tuple[Any, ...]] = set()

    def find(self, block: bytes, at: int) -> tuple[bytes, int] | None:
        """COPY's line for the line that begins there, and its end; None when it is not plain."""
        for shape in self._shapes:
            found = shape.match(block, at)
            if found is not None:
                values = found.groups(_NULL)
                if shape.pick is not None:
                    values = shape.pick((*values, _NULL))
                if shape is not self._shapes[0]:
                    self._shapes.remove(shape)
                    self._shapes.insert(0, shape)
                return b"\t".join(values), found.end()
        return None

    def learn(self, line: bytes, values: Object) -> None:
        """Know the lines that are like this one, which was parsed, from now on."""
        if len(self._shapes) == MOST or b"\\" in line:
            return
        kinds = tuple((name, self._kind(name, value)) for name, value in values.items())
        if kinds and kinds not in self._known and None not in dict(kinds).values():
            self._known.add(kinds)
            self._shapes.insert(0, self._shape(kinds))

    def _kind(self, name: str, value: Any) -> bytes | None:
        of = self._types[name]
        if value is None:
            is_bare = isinstance(of, IntegerType | Numeric | Boolean)
        elif isinstance(value, list | dict):
            return None
        else:
            is_bare = not isinstance(value, str)
        return _BARE if is_bare else _QUOTED if isinstance(of, JSON) else _TEXT

    def _shape(self, kinds: tuple[tuple[str, Any], ...]) -> _Shape:
        members = (_key(name) + rb": ?(?:null|" + kind + rb")" for name, kind in kinds)
        pattern = re.compile(rb"\{ ?" + rb", ?".join(members) + _END)
        given = {name: group for group, (name, _) in enumerate(kinds)}
        groups = [given.get(name, len(kinds)) for name in self._places]
        if groups == list(range(len(kinds))):
            return _Shape(pattern.match, None)
        if len(groups) == 1:
            return _Shape(pattern.match, lambda values: (values[groups[0]],))
        return _Shape(pattern.match, itemgetter(*groups))


def is_utf8(block: bytes) -> bool:
    """Whether all of it is UTF-8; where it is not, parsing tells the line."""
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _key(name: str) -> bytes:
    return re.escape(json.dumps(name, ensure_ascii=False).encode())


def _base(of: TypeEngine[Any]) -> TypeEngine[Any]:
    return _base(of.data_type) if isinstance(of, DOMAIN) else of
