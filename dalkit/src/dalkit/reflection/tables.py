"""SQLAlchemy tables, from the rows of the catalog."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Constraint, Row, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import BLANK_SCHEMA, conv

from .columns import ColumnTypes, add_columns, sql
from .relation import Names, Relation, elements

#: The columns of one table by their number.
NumberedColumns = dict[int, Column[Any]]

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
    parts = []
    for number, text, option, class_ in zip(
        row.keys[: row.key_count], elements(row, names), row.options, row.classes, strict=True
    ):
        if number and not class_:
            parts.append(_ordered(columns[number], option))
        else:  # SQLAlchemy would put an operator class after DESC
            expression = _quote(text) if number else text
            parts.append(_ordered(sql(f"{expression} {class_ or ''}".strip()), option))
    options: dict[str, Any] = {
        "postgresql_include": [names[number] for number in row.keys[row.key_count :]],
        "postgresql_using": row.method if row.method != "btree" else None,
        "postgresql_nulls_not_distinct": row.nulls_not_distinct,
    }
    given = {name: value for name, value in options.items() if value}
    if row.predicate:
        given["postgresql_where"] = sql(row.predicate)
    return sa.Index(conv(row.name), *parts, unique=row.is_unique, **given)


def _ordered(element: Any, option: int) -> Any:
    """The element of an index in its order; what is said are the differences from the defaults."""
    descending, first = bool(option & _DESC), bool(option & _NULLS_FIRST)
    ordered = sa.desc(element) if descending else element
    if descending == first:
        return ordered
    return sa.nulls_first(ordered) if first else sa.nulls_last(ordered)
