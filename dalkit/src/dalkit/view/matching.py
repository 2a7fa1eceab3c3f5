"""The part of a statement that finds rows by the values of some of their columns."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy.types import BigInteger, TypeEngine

from .codec import Key
from .origin import Query
from .tables import TableInfo, quoted

Names = tuple[str, ...]
Types = tuple[TypeEngine[Any], ...]
#: Types of which PostgreSQL calls texts equal that Python does not: by case, by spaces at the end.
INEXACT = ("CITEXT", "CHAR")
#: Types of which it may do so, as a column may have a nondeterministic collation.
TEXTS = ("TEXT", "VARCHAR", *INEXACT)
#: What a whole number has to be less than, and not less than the negative of.
_LIMITS = {"SMALLINT": 2**15, "INTEGER": 2**31, "BIGINT": 2**63}
#: The column with the place of the key, from 1, that a row was found by.
NUMBER = "dalkit_number"


class Match(NamedTuple):
    """What follows `FROM source`, an array for each column, and whether a row has its NUMBER."""

    sql: str
    values: list[list[Any]]
    is_numbered: bool

    @property
    def selected(self) -> str:
        """What more is selected."""
        return f", k.{NUMBER}" if self.is_numbered else ""

    def query(self, sql: str, names: Names, types: Types) -> Query:
        """The whole of it."""
        more: tuple[Any, ...] = ((NUMBER,), (BigInteger(),)) if self.is_numbered else ((), ())
        return Query(f"{sql} {self.sql}", names + more[0], types + more[1])


def are_exact(info: TableInfo, names: Sequence[str]) -> bool:
    """Whether these columns are equal where Python says so."""
    return not any(_bare(info, name) in INEXACT for name in names)


def storable(info: TableInfo, names: Sequence[str], keys: list[Key]) -> list[Key]:
    """The keys that these columns can hold: PostgreSQL refuses others, and no row has them."""
    limits = [(i, _LIMITS.get(_bare(info, name))) for i, name in enumerate(names)]
    for i, limit in limits:
        if limit is None:
            continue
        if len(names) == 1:
            return [key for key in keys if -limit <= key < limit]
        keys = [key for key in keys if -limit <= key[i] < limit]
    return keys


def match(
    info: TableInfo,
    alias: str,
    names: Sequence[str],
    keys: Sequence[Key],
    *,
    is_numbered: bool = False,
) -> Match:
    """Find the rows whose columns have one of these values.

    Each row comes with its NUMBER when that is asked for, or when only PostgreSQL can tell by which
    key it was found.
    """
    values = [list(keys)] if len(names) == 1 else [list(some) for some in zip(*keys, strict=True)]
    is_joined = is_numbered or any(_bare(info, name) in TEXTS for name in names)
    arrays = []
    for i, name in enumerate(names):
        array, is_sent_as_text = _array(f"${i + 1}", _bare(info, name), len(names) > 1 or is_joined)
        arrays.append(array)
        if is_sent_as_text:
            values[i] = list(map(str, values[i]))
    columns = [f"{alias}{quoted(name)}" for name in names]
    unnested = f"unnest({', '.join(arrays)})"
    if is_joined:
        wanted = [f"wanted_{i}" for i in range(len(names))]
        pairs = zip(columns, wanted, strict=True)
        on = " AND ".join(f"{column} = k.{name}" for column, name in pairs)
        table = f"{unnested} WITH ORDINALITY AS k({', '.join(wanted)}, {NUMBER})"
        return Match(f"JOIN {table} ON {on}", values, is_numbered=True)
    if len(columns) == 1:
        return Match(f"WHERE {columns[0]} = ANY({arrays[0]})", values, is_numbered=False)
    condition = f"({', '.join(columns)}) IN (SELECT * FROM {unnested})"
    return Match(f"WHERE {condition}", values, is_numbered=False)


def _bare(info: TableInfo, name: str) -> str:
    column = info.column(name)
    return re.sub(r"\(.*?\)", "", column.type) if column else ""


def _array(placeholder: str, type_name: str, is_typed: bool) -> tuple[str, bool]:
    """An array of a type as a parameter, and whether its values are passed as text.

    asyncpg knows of `text[]` from the start, but asks the server about any other array, which takes
    three statements on each connection.
    """
    if type_name in ("INTEGER", "BIGINT", "SMALLINT", "UUID", "CITEXT"):
        return f"{placeholder}::text[]::{type_name}[]", True
    if type_name in ("TEXT", "VARCHAR"):
        return f"{placeholder}::text[]", False
    if type_name == "CHAR":  # `char` would be one character
        return f"{placeholder}::text[]::bpchar[]", False
    # Without a type PostgreSQL takes that of the column.
    return f"{placeholder}::{type_name}[]" if is_typed else placeholder, False
