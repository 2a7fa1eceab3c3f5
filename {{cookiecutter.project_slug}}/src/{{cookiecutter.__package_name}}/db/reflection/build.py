"""Puts together what was read: tables by name, their unique keys and constraints."""

from collections.abc import Mapping, Sequence

from sqlalchemy import MetaData, PrimaryKeyConstraint, Table

from ..columns import column
from .catalog import Catalog, Relation
from .column_types import ColumnTypes
from .constraint_columns import constraint_columns
from .snapshot import Reflection
from .tables import TableBuilder, Tables
from .unique_keys import unique_keys

ViewKeys = Mapping[str, Sequence[str]]


def build_reflection(
    catalog: Catalog,
    types: ColumnTypes,
    metadata: MetaData,
    default_schema: str | None,
    schemas: tuple[str, ...],
    view_keys: ViewKeys,
) -> Reflection:
    """Build the tables into `metadata`; raises UnknownTable, UnknownColumn and ValueError.

    Without a default schema (no schema of the search_path exists) every table is qualified.
    """
    builder = TableBuilder(catalog, types, default_schema)
    tables = builder.build(metadata)
    keys = unique_keys(catalog.indexes, builder.names)
    default = default_schema or "public"
    reflection = Reflection(
        metadata,
        default,
        schemas,
        _by_name(catalog.relations, tables, default),
        {table.key: keys[oid] for oid, table in tables.items() if oid in keys},
        constraint_columns(catalog, builder.names),
    )
    for name, columns in view_keys.items():
        _declare_key(reflection.get_table(name), columns)
    return reflection


def _by_name(relations: Sequence[Relation], tables: Tables, default: str) -> dict[str, Table]:
    bare = {one.name: tables[one.oid] for one in relations if one.schema == default}
    return bare | {one.qualified: tables[one.oid] for one in relations}


def _declare_key(table: Table, names: Sequence[str]) -> None:
    if table.primary_key.columns.keys() == list(names):
        return  # reflected into the same MetaData before
    if table.primary_key.columns:
        raise ValueError(f"{table.fullname} has a primary key of its own: declare none.")
    for name in names:
        column(table, name)
        table.c[name].nullable = False
    table.append_constraint(PrimaryKeyConstraint(*(table.c[name] for name in names)))
