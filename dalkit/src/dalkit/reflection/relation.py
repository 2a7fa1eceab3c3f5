"""What the catalog says about one relation, and the keys that it has."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy import Row, Table

Rows = Sequence[Row[Any]]
#: Names of a relation's columns by their number.
Names = Mapping[int, str]


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


@dataclass(eq=False)
class Relation:
    """A table, view, materialized view, foreign table or partition, and its rows of the catalog."""

    oid: int
    schema: str
    name: str
    kind: str
    comment: str | None
    #: The table that this is a partition of, at the top.
    root: int | None
    columns: Rows = ()
    constraints: Rows = ()
    indexes: Rows = ()
    #: Those that are no tables of their own here; only their indexes are read.
    partitions: list["Relation"] = field(default_factory=list)
    #: SQLAlchemy's, once it is built.
    table: Table | None = None

    @property
    def qualified(self) -> str:
        """`schema.name`."""
        return f"{self.schema}.{self.name}"

    @cached_property
    def names(self) -> Names:
        """The names of its columns by their number."""
        return {row.number: row.name for row in self.columns}

    @cached_property
    def unique_keys(self) -> list[UniqueKey]:
        """The unique keys and exclusion constraints."""
        return [
            UniqueKey(
                name=row.name,
                columns=elements(row, self.names),
                is_primary=row.is_primary,
                is_unique=row.is_unique,
                has_expressions=row.expressions is not None,
                predicate=row.predicate or "",
                nulls_not_distinct=row.nulls_not_distinct,
                obstacle=_obstacle(row),
            )
            for row in self.indexes
            if row.is_unique or row.is_exclusion
        ]

    @cached_property
    def columns_by_constraint(self) -> dict[str, Mapping[str, tuple[str, ...]]]:
        """The columns that an error means when it names a constraint, by `schema.name`.

        For partitions too: errors name them instead of the table, and their own indexes.
        """
        found = {row.name: tuple(self.names[key] for key in row.keys) for row in self.constraints}
        for row in self.indexes:
            if row.is_unique or row.is_exclusion:
                found.setdefault(row.name, _columns_of_index(row, self.names))
        by_oid = {row.oid: row.name for row in self.indexes}
        by_table: dict[str, Mapping[str, tuple[str, ...]]] = {self.qualified: found}
        for part in self.partitions:
            renamed = ((row.name, by_oid.get(row.root, "")) for row in part.indexes)
            own = {new: found[old] for new, old in renamed if old in found}
            by_table[part.qualified] = {**found, **own}
        return by_table

    def forget_rows(self) -> None:
        """Keep only what is asked for after the table was built."""
        _ = self.unique_keys, self.columns_by_constraint
        self.columns = self.constraints = self.indexes = ()
        self.partitions = []


def elements(row: Row[Any], names: Names) -> tuple[str, ...]:
    """The columns and expressions of an index, without the columns it only INCLUDEs."""
    texts = row.expressions or [None] * row.key_count
    return tuple(
        text or names.get(number, "")
        for number, text in zip(row.keys[: row.key_count], texts, strict=True)
    )


def _obstacle(row: Row[Any]) -> str:
    """See infer_arbiter_indexes() in PostgreSQL's plancat.c."""
    obstacles = {
        "it is temporal (WITHOUT OVERLAPS)": row.is_exclusion and row.is_unique,
        "it is an exclusion constraint": row.is_exclusion,
        "it is deferrable": not row.is_immediate,
        "its index is not valid (REINDEX it, or attach all partitions)": not row.is_valid,
    }
    return next((why for why, holds in obstacles.items() if holds), "")


def _columns_of_index(row: Row[Any], names: Names) -> tuple[str, ...]:
    """Its columns and those that its expressions name."""
    in_texts = set(re.findall(r"\w+", " ".join(filter(None, row.expressions or []))))
    keys = row.keys[: row.key_count]
    return tuple(name for number, name in names.items() if name in in_texts or number in keys)
