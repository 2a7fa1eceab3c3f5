"""Unique keys: what makes rows unique, and what ON CONFLICT can do with it."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from .relation_rows import Names, RelationRows


@dataclass(frozen=True)
class UniqueKey:
    """A primary key, a unique or exclusion constraint, or a unique index."""

    name: str
    #: The SQL of what is not a column but an expression.
    columns: tuple[str, ...]
    is_primary: bool = False
    #: Whether equal values exclude each other; not so for an exclusion constraint (&&, <>, ...).
    is_unique: bool = True
    has_expressions: bool = False
    #: The WHERE of a partial index, empty when it holds for all rows.
    predicate: str = ""
    nulls_not_distinct: bool = False
    #: Why PostgreSQL refuses it as a conflict target, empty when it does not.
    obstacle: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether its columns alone are a conflict target."""
        return not (self.obstacle or self.predicate or self.has_expressions)


def unique_keys(rows: RelationRows) -> list[UniqueKey]:
    """The unique keys and exclusion constraints of one relation."""
    names = rows.names
    return [_key(row, names) for row in rows.indexes if row.is_unique or row.is_exclusion]


def elements(row: Row[Any], names: Names) -> tuple[str, ...]:
    """The columns and expressions of an index, without the columns it only INCLUDEs."""
    texts = row.expressions or [None] * row.key_count
    return tuple(
        text or names.get(number, "")
        for number, text in zip(row.keys[: row.key_count], texts, strict=True)
    )


def _key(row: Row[Any], names: Names) -> UniqueKey:
    return UniqueKey(
        name=row.name,
        columns=elements(row, names),
        is_primary=row.is_primary,
        is_unique=row.is_unique,
        has_expressions=row.expressions is not None,
        predicate=row.predicate or "",
        nulls_not_distinct=row.nulls_not_distinct,
        obstacle=_obstacle(row),
    )


def _obstacle(row: Row[Any]) -> str:
    """See infer_arbiter_indexes() in PostgreSQL's plancat.c."""
    if row.is_exclusion and row.is_unique:
        return "it is temporal (WITHOUT OVERLAPS)"
    if row.is_exclusion:
        return "it is an exclusion constraint"
    if not row.is_immediate:
        return "it is deferrable"
    if not row.is_valid:
        return "its index is not valid (REINDEX it, or attach all partitions)"
    return ""
