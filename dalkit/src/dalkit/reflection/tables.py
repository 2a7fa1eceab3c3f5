"""SQLAlchemy tables and their keys, from the rows of the catalog."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Constraint, Row, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import BLANK_SCHEMA, conv

from .catalog import Names, Relation
from .columns import ColumnTypes, add_columns, sql

#: The columns of one table by their number.
NumberedColumns = dict[int, Column[Any]]
#: The names of the columns of each constraint and unique index of one table.
ColumnsByConstraint = Mapping[str, tuple[str, ...]]

_ACTIONS = {"r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
_DESC, _NULLS_FIRST = 1, 2  # the bits of pg_index.indoption
_quote = postgresql.dialect().identifier_preparer.quote  # type: ignore[no-untyped-call]


class TableBuilder:
    """Builds tables of one catalog; those that the MetaData has already are left alone."""

    def __init__(
        self, metadata: sa.MetaData, types: ColumnTypes, default_schema: str | None
    ) -> None:
        self.metadata = metadata
        self._types = types
        self._default_schema = default_schema
        self._columns: dict[int, NumberedColumns] = {}  # of each relation by its oid

    def declared(self, relation: Relation) -> Table | None:
        """The table of the MetaData that stands for this relation, if there is one.

        It may have fewer columns than the relation, and others.
        """
        table = self.metadata.tables.get(relation.qualified)
        if table is None and self._schema_of(relation) is None:
            table = self.metadata.tables.get(relation.name)
        if table is not None:
            columns = {column.name: column for column in table.columns}
            here = {
                row.number: columns[row.name] for row in relation.columns if row.name in columns
            }
            self._columns[relation.oid] = here
        return table

    def table(self, relation: Relation) -> Table:
        """A new table with everything but its foreign keys."""
        table = Table(
            relation.name,
            self.metadata,
            schema=self._schema_of(relation) or BLANK_SCHEMA,
            comment=relation.comment,
            info={"kind": relation.kind},
        )
        columns = self._columns[relation.oid] = add_columns(table, relation.columns, self._types)
        indexes = {row.name: row for row in relation.indexes}
        for row in relation.constraints:
            if row.kind != "f":
                table.append_constraint(_constraint(row, _chosen(columns, row.keys), indexes))
        for row in relation.indexes:
            if row.constraint is None:
                table.append_constraint(_index(row, columns, relation.names))
        return table

    def add_foreign_keys(self, table: Table, relation: Relation) -> None:
        """Add those that lead to a table that is built; SQLAlchemy stumbles over any other."""
        for row in relation.constraints:
            if row.kind == "f" and row.target in self._columns:
                columns = _chosen(self._columns[row.relation], row.keys)
                target = _chosen(self._columns[row.target], row.target_keys)
                if len(target) == len(columns):
                    table.append_constraint(_foreign_key(row, columns, target, relation.names))

    def _schema_of(self, relation: Relation) -> str | None:
        """A name with a dot is always qualified: `a.b` would be taken for table b of schema a."""
        is_default = relation.schema == self._default_schema and "." not in relation.name
        return None if is_default else relation.schema


def _chosen(columns: NumberedColumns, numbers: Iterable[int]) -> list[Column[Any]]:
    return [columns[number] for number in numbers if number in columns]


def _constraint(
    row: Row[Any], columns: Sequence[Column[Any]], indexes: Mapping[str, Row[Any]]
) -> Constraint:
    """A CHECK constraint, a primary key or a UNIQUE constraint, some of which its index tells."""
    if row.kind == "c":
        return sa.CheckConstraint(sql(row.condition), name=conv(row.name))
    options = _deferral(row)
    if row.kind == "u":
        if indexes[row.name].nulls_not_distinct:
            options["postgresql_nulls_not_distinct"] = True
        return sa.UniqueConstraint(*columns, name=conv(row.name), **options)
    counters = [column for column in columns if column.autoincrement is True]
    for column in counters[1:]:  # SQLAlchemy refuses a primary key with more than one
        column.autoincrement = "auto"
    return sa.PrimaryKeyConstraint(*columns, name=conv(row.name), **options)


def _foreign_key(
    row: Row[Any], columns: Sequence[Column[Any]], target: Sequence[Column[Any]], names: Names
) -> Constraint:
    on_delete = _ACTIONS.get(row.on_delete)
    if row.on_delete_keys:  # SET NULL or SET DEFAULT of some of the columns only
        on_delete = f"{on_delete} ({', '.join(_quote(names[key]) for key in row.on_delete_keys)})"
    return sa.ForeignKeyConstraint(
        columns,
        target,
        name=conv(row.name),
        onupdate=_ACTIONS.get(row.on_update),
        ondelete=on_delete,
        match="FULL" if row.match == "f" else None,
        **_deferral(row),
    )


def _deferral(row: Row[Any]) -> dict[str, Any]:
    return {"deferrable": row.deferrable or None, "initially": "DEFERRED" if row.deferred else None}


def _index(row: Row[Any], columns: NumberedColumns, names: Names) -> sa.Index:
    """An index that belongs to no constraint."""
    elements = []
    for number, text, option, class_ in zip(
        row.keys[: row.key_count], _elements(row, names), row.options, row.classes, strict=True
    ):
        if number and not class_:
            elements.append(_ordered(columns[number], option))
        else:  # SQLAlchemy would put an operator class after DESC
            expression = _quote(text) if number else text
            elements.append(_ordered(sql(f"{expression} {class_ or ''}".strip()), option))
    options: dict[str, Any] = {
        "postgresql_include": [names[number] for number in row.keys[row.key_count :]],
        "postgresql_using": row.method if row.method != "btree" else None,
        "postgresql_nulls_not_distinct": row.nulls_not_distinct,
        "postgresql_where": row.predicate and sql(row.predicate),
    }
    given = {name: value for name, value in options.items() if value not in (None, False, [])}
    return sa.Index(conv(row.name), *elements, unique=row.is_unique, **given)


def _ordered(element: Any, option: int) -> Any:
    """The element of an index in its order; what is said are the differences from the defaults."""
    descending, first = bool(option & _DESC), bool(option & _NULLS_FIRST)
    ordered = sa.desc(element) if descending else element
    if descending == first:
        return ordered
    return sa.nulls_first(ordered) if first else sa.nulls_last(ordered)


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


def unique_keys(relation: Relation) -> list[UniqueKey]:
    """The unique keys and exclusion constraints of one relation."""
    return [
        UniqueKey(
            name=row.name,
            columns=_elements(row, relation.names),
            is_primary=row.is_primary,
            is_unique=row.is_unique,
            has_expressions=row.expressions is not None,
            predicate=row.predicate or "",
            nulls_not_distinct=row.nulls_not_distinct,
            obstacle=_obstacle(row),
        )
        for row in relation.indexes
        if row.is_unique or row.is_exclusion
    ]


def _elements(row: Row[Any], names: Names) -> tuple[str, ...]:
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


def columns_by_constraint(relation: Relation) -> dict[str, ColumnsByConstraint]:
    """The columns that an error means when it names a constraint, by qualified name of its table.

    For partitions too: errors name them instead of the table, and their own indexes.
    """
    names = relation.names
    found = {row.name: tuple(names[key] for key in row.keys) for row in relation.constraints}
    for row in relation.indexes:
        if row.is_unique or row.is_exclusion:
            found.setdefault(row.name, _columns_of_index(row, names))
    by_oid = {row.oid: row.name for row in relation.indexes}
    by_table: dict[str, ColumnsByConstraint] = {relation.qualified: found}
    for part in relation.partitions:
        renamed = ((row.name, by_oid.get(row.root, "")) for row in part.indexes)
        own = {new: found[old] for new, old in renamed if old in found}
        by_table[part.qualified] = {**found, **own}
    return by_table


def _columns_of_index(row: Row[Any], names: Names) -> tuple[str, ...]:
    """Its columns and those that its expressions name."""
    in_texts = set(re.findall(r"\w+", " ".join(filter(None, row.expressions or []))))
    keys = row.keys[: row.key_count]
    return tuple(name for number, name in names.items() if name in in_texts or number in keys)
