"""Reads the database's catalog."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncConnection

from ..data.errors import UnknownSchema, UnknownTable
from .build import ViewKeys, build_reflection
from .catalog import Relation, read_catalog, read_relations
from .column_types import ColumnTypes
from .lazy_tables import collector_paused
from .snapshot import Reflection

Only = Sequence[str] | Callable[[str], bool] | None


async def read_reflection(
    conn: AsyncConnection,
    metadata: MetaData,
    *,
    schemas: Sequence[str] | None = None,
    views: bool = True,
    only: Only = None,
    view_keys: ViewKeys | None = None,
) -> Reflection:
    """Read what `metadata` will be built from; raises UnknownSchema, UnknownTable, UnknownColumn.

    Sorted in a thread, so that requests go on while a large schema is read again.
    """
    dialect: Any = conn.dialect
    default = dialect.default_schema_name
    names = tuple(dict.fromkeys(schemas or [metadata.schema or default or "public"]))
    with collector_paused():
        found = await read_relations(conn, names)
        for schema in schemas or ():
            if schema not in found:
                raise UnknownSchema(schema)
        relations = [relation for schema in names for relation in found.get(schema, ())]
        chosen = _chosen(relations, default or "public", views, only, names)
        oids = {relation.oid for relation in chosen}
        partitions = [one for one in relations if one.root in oids and one.oid not in oids]
        catalog = await read_catalog(conn, chosen, partitions)
        types = ColumnTypes(catalog.types, dialect.ischema_names)
        return await asyncio.to_thread(
            build_reflection, catalog, types, metadata, default, names, view_keys or {}
        )


def _chosen(
    relations: Sequence[Relation], default: str, views: bool, only: Only, schemas: Sequence[str]
) -> list[Relation]:
    """Without the partitions: rows are read and written through the table that they belong to."""
    offered = [one for one in relations if views or "view" not in one.kind]
    if callable(only):
        return [one for one in offered if one.root is None and only(one.name)]
    if only is None:
        return [one for one in offered if one.root is None]
    for name in only:
        if not any(name in (one.name, one.qualified) for one in offered):
            known = {one.name if one.schema == default else one.qualified for one in offered}
            raise UnknownTable(name, known, schemas)
    return [one for one in offered if one.name in only or one.qualified in only]
