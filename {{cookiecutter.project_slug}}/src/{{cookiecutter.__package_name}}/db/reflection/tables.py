"""SQLAlchemy tables, from the rows of the catalog."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column, MetaData, Row, Table
from sqlalchemy.schema import BLANK_SCHEMA

from . import constraints as build
from .catalog import Catalog, Relation
from .column_types import ColumnTypes
from .columns import add_columns, sql
from .unique_keys import elements

Tables = dict[int, Table]


class TableBuilder:
    """Builds the tables of one catalog; those that the MetaData has already are left alone."""

    def __init__(self, catalog: Catalog, types: ColumnTypes, default_schema: str | None) -> None:
        self._relations = catalog.relations
        self._types = types
        self._default_schema = default_schema
        self._columns = _by_relation(catalog.columns)
        self._constraints = _by_relation(catalog.constraints)
        self._indexes = _by_relation(catalog.indexes)
        #: Names of columns by the oid of their relation and their number.
        self.names = {(row.relation, row.number): row.name for row in catalog.columns}
        self._objects: dict[tuple[int, int], Column[Any]] = {}

    def build(self, metadata: MetaData) -> Tables:
        """The tables by the oid of their relation."""
        tables: Tables = {}
        built = []
        for relation in self._relations:
            table = self._known(relation, metadata)
            if table is None:
                table = self._table(relation, metadata)
                built.append(relation.oid)
            else:
                self._use_columns(relation.oid, table)
            tables[relation.oid] = table
        # Only now, because foreign keys may lead anywhere, in a circle too.
        for oid in built:
            self._add_foreign_keys(oid, tables)
        return tables

    def _known(self, relation: Relation, metadata: MetaData) -> Table | None:
        qualified = metadata.tables.get(f"{relation.schema}.{relation.name}")
        if qualified is None and self._schema_of(relation) is None:
            return metadata.tables.get(relation.name)
        return qualified

    def _schema_of(self, relation: Relation) -> str | None:
        """A name with a dot is always qualified: `a.b` would be taken for table b of schema a."""
        is_default = relation.schema == self._default_schema and "." not in relation.name
        return None if is_default else relation.schema

    def _table(self, relation: Relation, metadata: MetaData) -> Table:
        table = Table(
            relation.name,
            metadata,
            schema=self._schema_of(relation) or BLANK_SCHEMA,
            comment=relation.comment,
            info={"kind": relation.kind},
        )
        self._objects |= add_columns(table, self._columns[relation.oid], self._types)
        self._add_constraints(relation.oid, table)
        return table

    def _add_constraints(self, oid: int, table: Table) -> None:
        indexes = {row.name: row for row in self._indexes[oid]}
        for row in self._constraints[oid]:
            columns = self._columns_of(oid, row.keys)
            if row.kind == "c":
                table.append_constraint(build.check(row))
            elif row.kind == "p":
                table.append_constraint(build.primary_key(row, columns))
            elif row.kind == "u":
                table.append_constraint(build.unique(row, columns, indexes[row.name]))
        for row in indexes.values():
            if row.constraint is None:
                table.append_constraint(self._index(row))

    def _index(self, row: Row[Any]) -> Any:
        texts = elements(row, self.names)
        parts: list[Any] = [
            self._objects[row.relation, number] if number else sql(text)
            for number, text in zip(row.keys, texts, strict=False)
        ]
        included = [self.names[row.relation, number] for number in row.keys[row.key_count :]]
        return build.index(row, parts, included)

    def _add_foreign_keys(self, oid: int, tables: Tables) -> None:
        """Add those that lead to a reflected table; SQLAlchemy stumbles over any other."""
        for row in self._constraints[oid]:
            if row.kind == "f" and row.target in tables:
                columns = self._columns_of(oid, row.keys)
                target = self._columns_of(row.target, row.target_keys)
                if len(target) == len(columns):
                    tables[oid].append_constraint(build.foreign_key(row, columns, target))

    def _columns_of(self, oid: int, numbers: Iterable[int]) -> list[Column[Any]]:
        keys = [(oid, number) for number in numbers]
        return [self._objects[key] for key in keys if key in self._objects]

    def _use_columns(self, oid: int, table: Table) -> None:
        """A table that was declared may have fewer columns, and others."""
        declared = {column.name: column for column in table.columns}
        for row in self._columns[oid]:
            if row.name in declared:
                self._objects[oid, row.number] = declared[row.name]


def _by_relation(rows: Iterable[Row[Any]]) -> defaultdict[int, list[Row[Any]]]:
    found: defaultdict[int, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        found[row.relation].append(row)
    return found
