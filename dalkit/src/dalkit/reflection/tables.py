"""SQLAlchemy tables, from the rows of the catalog."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Column, MetaData, Row, Table
from sqlalchemy.schema import BLANK_SCHEMA

from . import constraints as build
from .catalog import Relation
from .column_types import ColumnTypes
from .columns import add_columns, sql
from .relation_rows import RelationRows
from .unique_keys import elements

Columns = dict[int, Column[Any]]


class TableBuilder:
    """Builds tables of one catalog; those that the MetaData has already are left alone."""

    def __init__(self, metadata: MetaData, types: ColumnTypes, default_schema: str | None) -> None:
        self.metadata = metadata
        self._types = types
        self._default_schema = default_schema
        #: Of each relation by its oid, each by its number.
        self._columns: dict[int, Columns] = {}

    def declared(self, rows: RelationRows) -> Table | None:
        """The table of the MetaData that stands for this relation, if there is one.

        It may have fewer columns than the relation, and others.
        """
        table = self._known(rows.relation)
        if table is not None:
            columns = {column.name: column for column in table.columns}
            here = {row.number: columns[row.name] for row in rows.columns if row.name in columns}
            self._columns[rows.relation.oid] = here
        return table

    def table(self, rows: RelationRows) -> Table:
        """A new table with everything but its foreign keys."""
        relation = rows.relation
        table = Table(
            relation.name,
            self.metadata,
            schema=self._schema_of(relation) or BLANK_SCHEMA,
            comment=relation.comment,
            info={"kind": relation.kind},
        )
        columns = self._columns[relation.oid] = add_columns(table, rows.columns, self._types)
        _add_constraints(table, rows, columns)
        return table

    def add_foreign_keys(self, table: Table, rows: RelationRows) -> None:
        """Add those that lead to a table that is built; SQLAlchemy stumbles over any other."""
        for row in rows.constraints:
            if row.kind == "f" and row.target in self._columns:
                columns = _chosen(self._columns[row.relation], row.keys)
                target = _chosen(self._columns[row.target], row.target_keys)
                if len(target) == len(columns):
                    table.append_constraint(build.foreign_key(row, columns, target))

    def _known(self, relation: Relation) -> Table | None:
        qualified = self.metadata.tables.get(relation.qualified)
        if qualified is None and self._schema_of(relation) is None:
            return self.metadata.tables.get(relation.name)
        return qualified

    def _schema_of(self, relation: Relation) -> str | None:
        """A name with a dot is always qualified: `a.b` would be taken for table b of schema a."""
        is_default = relation.schema == self._default_schema and "." not in relation.name
        return None if is_default else relation.schema


def _add_constraints(table: Table, rows: RelationRows, columns: Columns) -> None:
    indexes = {row.name: row for row in rows.indexes}
    for row in rows.constraints:
        of = _chosen(columns, row.keys)
        if row.kind == "c":
            table.append_constraint(build.check(row))
        elif row.kind == "p":
            table.append_constraint(build.primary_key(row, of))
        elif row.kind == "u":
            table.append_constraint(build.unique(row, of, indexes[row.name]))
    for row in indexes.values():
        if row.constraint is None:
            table.append_constraint(_index(row, columns, rows.names))


def _index(row: Row[Any], columns: Columns, names: Mapping[int, str]) -> Any:
    parts: list[Any] = [
        columns[number] if number else sql(text)
        for number, text in zip(row.keys, elements(row, names), strict=False)
    ]
    return build.index(row, parts, [names[number] for number in row.keys[row.key_count :]])


def _chosen(columns: Columns, numbers: Iterable[int]) -> list[Column[Any]]:
    return [columns[number] for number in numbers if number in columns]
