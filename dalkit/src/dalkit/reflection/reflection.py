"""Reads the database, and is what one look at it found: tables, keys and constraints."""

import gc
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any

from sqlalchemy import MetaData, PrimaryKeyConstraint, Table
from sqlalchemy.ext.asyncio import AsyncConnection

from ..errors import UnknownColumn, UnknownSchema, UnknownTable
from .catalog import Relation, read_catalog, read_relations
from .columns import ColumnTypes
from .tables import ColumnsByConstraint, TableBuilder, UniqueKey, columns_by_constraint, unique_keys

Only = Sequence[str] | Callable[[str], bool] | None
ViewKeys = Mapping[str, Sequence[str]]


async def read_reflection(
    conn: AsyncConnection,
    metadata: MetaData,
    *,
    schemas: Sequence[str] | None = None,
    views: bool = True,
    only: Only = None,
    view_keys: ViewKeys | None = None,
) -> "Reflection":
    """What `metadata` will be built from; raises UnknownSchema, UnknownTable, UnknownColumn."""
    dialect: Any = conn.dialect
    # Without a default schema (no schema of the search_path exists) every table is qualified.
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
        types = ColumnTypes(await read_catalog(conn, chosen, partitions), dialect.ischema_names)
        builder = TableBuilder(metadata, types, default)
        reflection = Reflection(chosen, partitions, builder, default or "public", names)
        for view, key in (view_keys or {}).items():
            _declare_key(reflection.get_table(view), key)
        return reflection


def _chosen(
    relations: Sequence[Relation], default: str, views: bool, only: Only, schemas: Sequence[str]
) -> list[Relation]:
    """Without the partitions: rows are read and written through the table that they belong to."""
    offered = [one for one in relations if views or "view" not in one.kind]
    if only is None or callable(only):
        return [one for one in offered if one.root is None and (only is None or only(one.name))]
    for name in only:
        if not any(name in (one.name, one.qualified) for one in offered):
            known = {one.name if one.schema == default else one.qualified for one in offered}
            raise UnknownTable(name, known, schemas)
    return [one for one in offered if one.name in only or one.qualified in only]


def _declare_key(table: Table, names: Sequence[str]) -> None:
    if table.primary_key.columns.keys() == list(names):
        return  # reflected into the same MetaData before
    if table.primary_key.columns:
        raise ValueError(f"{table.fullname} has a primary key of its own: declare none.")
    for name in names:
        if name not in table.c:
            raise UnknownColumn(name, table)
        table.c[name].nullable = False
    table.append_constraint(PrimaryKeyConstraint(*(table.c[name] for name in names)))


class Reflection:
    """The tables of one moment, each built when it is first asked for.

    A table comes together with those that its foreign keys lead to, in one step or not at all. The
    rows that it was built from are dropped. What is known never changes: a later look makes another
    one. Any thread may ask.
    """

    def __init__(
        self,
        relations: Sequence[Relation],
        partitions: Sequence[Relation],
        builder: TableBuilder,
        default_schema: str,
        schemas: Sequence[str],
    ) -> None:
        self._default_schema = default_schema
        self._schemas = schemas
        self._builder = builder
        self._lock = RLock()
        self._rows = {one.oid: one for one in relations}  # those that are not built yet
        self._built: dict[int, Table] = {}
        #: The keys of a relation, and the columns of constraints by its and its partitions' names.
        self._keys: dict[int, tuple[list[UniqueKey], dict[str, ColumnsByConstraint]]] = {}
        #: Those of the default schema by `name`, and all of them by `schema.name`.
        self._oids = {one.name: one.oid for one in relations if one.schema == default_schema}
        self._oids |= {one.qualified: one.oid for one in relations}
        #: The tables that partitions belong to, by `schema.name` of the partition.
        self._roots = {one.qualified: one.root for one in partitions}
        self._tables: dict[str, Table] = {}

    @property
    def metadata(self) -> MetaData:
        """All tables; those that were not asked for are built now."""
        self.build(None)
        return self._builder.metadata

    @property
    def metadata_so_far(self) -> MetaData:
        """The tables that are built."""
        return self._builder.metadata

    @property
    def built(self) -> Collection[str]:
        """The names of these tables."""
        with self._lock:
            return [name for name, oid in self._oids.items() if oid in self._built]

    def get_table(self, name: str) -> Table:
        """The table of this name or `schema.name`; raises UnknownTable."""
        table = self._tables.get(name)
        if table is None:
            oid = self._oid(name)
            self._build([oid])
            table = self._tables[name] = self._built[oid]
        return table

    def build(self, names: Iterable[str] | None) -> None:
        """Build these, or all, before they are asked for; what is not there is passed over."""
        oids = None if names is None else [self._oids[name] for name in names if name in self._oids]
        self._build(oids)

    def unique_keys(self, name: str) -> Sequence[UniqueKey]:
        """Every unique key and exclusion constraint of a table; raises UnknownTable."""
        return self._keys_of(self._oid(name))[0]

    def constraint_columns(
        self, constraint: str, table: str, schema: str | None = None
    ) -> tuple[str, ...]:
        """The columns of a constraint or unique index; empty when it is not known.

        PostgreSQL's errors name the partition, and its own index, for a partitioned table.
        """
        name = f"{schema or self._default_schema}.{table}"
        oid = self._roots.get(name) or self._oids.get(name)
        found = self._keys_of(oid)[1].get(name, {}) if oid else {}
        return found.get(constraint, ())

    def _oid(self, name: str) -> int:
        try:
            return self._oids[name]
        except KeyError:
            raise UnknownTable(name, self._oids, self._schemas) from None

    def _keys_of(self, oid: int) -> tuple[list[UniqueKey], dict[str, ColumnsByConstraint]]:
        """These need no table to be built."""
        if oid not in self._keys:
            with self._lock:
                if oid not in self._keys:
                    rows = self._rows[oid]
                    self._keys[oid] = unique_keys(rows), columns_by_constraint(rows)
        return self._keys[oid]

    def _build(self, oids: Iterable[int] | None) -> None:
        """Build these, or all, unless they are built already."""
        with self._lock, collector_paused():
            wanted = self._with_targets(list(self._rows) if oids is None else oids)
            tables = self._in_one_step(wanted)
            for oid in wanted:
                self._keys_of(oid)
                del self._rows[oid]
            self._built.update(tables)

    def _with_targets(self, oids: Iterable[int]) -> list[int]:
        """Those that are not built yet, and all that foreign keys lead to from there."""
        wanted: dict[int, None] = {}
        waiting = list(oids)[::-1]
        while waiting:
            oid = waiting.pop()
            if oid in self._rows and oid not in wanted:
                wanted[oid] = None
                waiting += [row.target for row in self._rows[oid].constraints if row.kind == "f"]
        return list(wanted)

    def _in_one_step(self, oids: Iterable[int]) -> dict[int, Table]:
        """The tables of these relations; when one cannot be built, the MetaData is as before."""
        metadata = self._builder.metadata
        before = set(metadata.tables)
        tables, made = {}, []
        try:
            for oid in oids:
                table = self._builder.declared(self._rows[oid])
                if table is None:
                    table = self._builder.table(self._rows[oid])
                    made.append(oid)
                tables[oid] = table
            # Only now, because foreign keys may lead anywhere, in a circle too.
            for oid in made:
                self._builder.add_foreign_keys(tables[oid], self._rows[oid])
        except BaseException:
            for name in metadata.tables.keys() - before:
                metadata.remove(metadata.tables[name])
            raise
        return tables


@contextmanager
def collector_paused() -> Iterator[None]:
    """Reflection makes many objects that all live on: the collector would only walk them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
