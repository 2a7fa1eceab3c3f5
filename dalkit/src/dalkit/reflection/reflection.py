"""Reads the database, and is what one look at it found: tables, keys and constraints."""

import gc
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any, cast

from sqlalchemy import MetaData, PrimaryKeyConstraint, Table
from sqlalchemy.ext.asyncio import AsyncConnection

from ..errors import UnknownColumn, UnknownSchema, UnknownTable
from .catalog import read_catalog, read_relations
from .columns import ColumnTypes
from .relation import Relation, UniqueKey
from .tables import TableBuilder

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
        self._by_oid = {one.oid: one for one in relations}
        #: Those of the default schema by `name`, and all of them by `schema.name`.
        self._relations = {one.name: one for one in relations if one.schema == default_schema}
        self._relations |= {one.qualified: one for one in relations}
        #: The tables that partitions belong to, by `schema.name` of the partition.
        self._roots = {one.qualified: self._by_oid[one.root or 0] for one in partitions}

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
            return [name for name, one in self._relations.items() if one.table is not None]

    def get_table(self, name: str) -> Table:
        """The table of this name or `schema.name`; raises UnknownTable."""
        relation = self._relation(name)
        if relation.table is None:
            self._build([relation])
        return cast(Table, relation.table)

    def build(self, names: Iterable[str] | None) -> None:
        """Build these, or all, before they are asked for; what is not there is passed over."""
        known = self._relations
        self._build(
            self._by_oid.values() if names is None else [known[n] for n in names if n in known]
        )

    def unique_keys(self, name: str) -> Sequence[UniqueKey]:
        """Every unique key and exclusion constraint of a table; raises UnknownTable."""
        with self._lock:
            return self._relation(name).unique_keys

    def constraint_columns(
        self, constraint: str, table: str, schema: str | None = None
    ) -> tuple[str, ...]:
        """The columns of a constraint or unique index; empty when it is not known.

        PostgreSQL's errors name the partition, and its own index, for a partitioned table.
        """
        name = f"{schema or self._default_schema}.{table}"
        relation = self._roots.get(name) or self._relations.get(name)
        with self._lock:
            found = relation.columns_by_constraint.get(name, {}) if relation else {}
        return found.get(constraint, ())

    def _relation(self, name: str) -> Relation:
        try:
            return self._relations[name]
        except KeyError:
            raise UnknownTable(name, self._relations, self._schemas) from None

    def _build(self, relations: Iterable[Relation]) -> None:
        with self._lock, collector_paused():
            wanted = self._with_targets(relations)
            tables = self._in_one_step(wanted)
            for relation in wanted:
                relation.forget_rows()
                relation.table = tables[relation.oid]

    def _with_targets(self, relations: Iterable[Relation]) -> list[Relation]:
        """Those that are not built yet, and all that foreign keys lead to from there."""
        wanted: dict[int, Relation] = {}
        waiting = list(relations)[::-1]
        while waiting:
            one = waiting.pop()
            if one.table is None and one.oid not in wanted:
                wanted[one.oid] = one
                targets = (row.target for row in one.constraints if row.kind == "f")
                waiting += [self._by_oid[target] for target in targets if target in self._by_oid]
        return list(wanted.values())

    def _in_one_step(self, relations: Iterable[Relation]) -> dict[int, Table]:
        """The tables of these relations; when one cannot be built, the MetaData is as before."""
        metadata, builder = self._builder.metadata, self._builder
        before = set(metadata.tables)
        tables, made = {}, []
        try:
            for relation in relations:
                table = builder.declared(relation)
                if table is None:
                    table = builder.table(relation)
                    made.append(relation)
                tables[relation.oid] = table
            # Only now, because foreign keys may lead anywhere, in a circle too.
            for relation in made:
                builder.add_foreign_keys(tables[relation.oid], relation)
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
