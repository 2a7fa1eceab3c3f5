"""Puts together what was read: the names of tables, and what they will be built from."""

from collections.abc import Mapping, Sequence

from sqlalchemy import MetaData, PrimaryKeyConstraint, Table

from ..data.columns import column
from .catalog import Catalog, Relation
from .column_types import ColumnTypes
from .lazy_tables import LazyTables
from .relation_rows import rows_by_relation
from .snapshot import Reflection
from .tables import TableBuilder

ViewKeys = Mapping[str, Sequence[str]]


def build_reflection(
    catalog: Catalog,
    types: ColumnTypes,
    metadata: MetaData,
    default_schema: str | None,
    schemas: tuple[str, ...],
    view_keys: ViewKeys,
) -> Reflection:
    """The tables to be, in `metadata`; raises UnknownTable, UnknownColumn and ValueError.

    Without a default schema (no schema of the search_path exists) every table is qualified.
    """
    builder = TableBuilder(metadata, types, default_schema)
    reflection = Reflection(
        LazyTables(rows_by_relation(catalog), builder),
        default_schema or "public",
        schemas,
        _by_name(catalog.relations, default_schema or "public"),
        {one.qualified: one.root for one in catalog.partitions if one.root is not None},
    )
    for name, columns in view_keys.items():
        _declare_key(reflection.get_table(name), columns)
    return reflection


def _by_name(relations: Sequence[Relation], default: str) -> dict[str, int]:
    bare = {one.name: one.oid for one in relations if one.schema == default}
    return bare | {one.qualified: one.oid for one in relations}


def _declare_key(table: Table, names: Sequence[str]) -> None:
    if table.primary_key.columns.keys() == list(names):
        return  # reflected into the same MetaData before
    if table.primary_key.columns:
        raise ValueError(f"{table.fullname} has a primary key of its own: declare none.")
    for name in names:
        column(table, name)
        table.c[name].nullable = False
    table.append_constraint(PrimaryKeyConstraint(*(table.c[name] for name in names)))
