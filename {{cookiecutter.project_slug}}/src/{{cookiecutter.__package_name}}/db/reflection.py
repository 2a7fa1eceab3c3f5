"""Reads tables, views and unique keys from the database's catalog."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, MetaData, Table, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import ColumnCollectionConstraint

from .errors import UnknownTable

Only = Sequence[str] | Callable[[str], bool] | None


@dataclass(frozen=True)
class UniqueKey:
    """A unique constraint, a unique index or a primary key."""

    name: str
    columns: tuple[str, ...]
    is_primary: bool
    #: Why PostgreSQL refuses it as a conflict target by its columns alone; empty when it does not.
    obstacle: str


@dataclass(frozen=True)
class Reflection:
    """What one look at the database found."""

    metadata: MetaData
    default_schema: str
    schemas: tuple[str, ...]
    unique_keys: Mapping[str, Sequence[UniqueKey]] = field(default_factory=dict)

    def get_table(self, name: str) -> Table:
        """The table of this name or `schema.name`; raises UnknownTable."""
        key = name.removeprefix(f"{self.default_schema}.")
        try:
            return self.metadata.tables[key]
        except KeyError:
            raise UnknownTable(name, self.metadata.tables, self.schemas) from None

    def keys_of(self, name: str) -> Sequence[UniqueKey]:
        """Every unique key of a table; raises UnknownTable."""
        return self.unique_keys.get(self.get_table(name).key, ())

    def unique_constraints(self, name: str) -> dict[str, tuple[str, ...]]:
        """Name to columns of every unique key of a table; raises UnknownTable."""
        return {key.name: key.columns for key in self.keys_of(name)}

    def constraint_columns(
        self, constraint: str, table: str, schema: str | None
    ) -> tuple[str, ...]:
        """The columns of a constraint or unique index; empty when it is not known."""
        key = table if schema in (None, self.default_schema) else f"{schema}.{table}"
        if key not in self.metadata.tables:
            return ()
        if constraint in (unique := self.unique_constraints(key)):
            return unique[constraint]
        for other in self.metadata.tables[key].constraints:
            if other.name == constraint and isinstance(other, ColumnCollectionConstraint):
                return tuple(other.columns.keys())
        return ()

    def unique_constraint(self, name: str) -> tuple[str, ...]:
        """The columns of the only unique key besides the primary key; raises LookupError."""
        keys = [key for key in self.keys_of(name) if not key.is_primary]
        if len(keys) != 1:
            found = ", ".join(key.name for key in keys) or "none"
            raise LookupError(
                f"Table {name!r} has {len(keys)} unique constraints besides its primary key "
                f"({found}); name the one you mean with unique_constraints()."
            )
        return keys[0].columns


async def read_reflection(
    conn: AsyncConnection,
    metadata: MetaData,
    *,
    schemas: Sequence[str] | None,
    views: bool,
    only: Only,
) -> Reflection:
    """Reflect into `metadata` and return it with the unique keys of its tables."""
    with collector_paused():
        return await conn.run_sync(_read, metadata, schemas, views, only)


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


def _read(
    conn: Connection, metadata: MetaData, schemas: Sequence[str] | None, views: bool, only: Only
) -> Reflection:
    default = inspect(conn).default_schema_name or "public"
    names = tuple(schemas) if schemas else (default,)
    for schema in names:
        _read_schema(conn, metadata, None if schema == default else schema, views, only)
    return Reflection(metadata, default, names, _read_unique_keys(conn, names, default))


def _read_schema(
    conn: Connection, metadata: MetaData, schema: str | None, views: bool, only: Only
) -> None:
    wanted = only if only is None or not callable(only) else (lambda name, _: only(name))
    metadata.reflect(conn, schema=schema, views=views, only=wanted)


_UNIQUE_KEYS = text(
    """
    select n.nspname as schema_name, t.relname as table_name, i.relname as name,
           x.indisprimary as is_primary,
           array(select coalesce(a.attname::text, '')
                 from generate_series(0, x.indnkeyatts - 1) as k
                 left join pg_attribute a on a.attrelid = t.oid and a.attnum = x.indkey[k]
                                         and a.attnum > 0
                 order by k) as columns,
           case when x.indexprs is not null then 'it is on an expression'
                when x.indpred is not null then 'it is partial'
                when not x.indisvalid then 'its index is not valid'
                when x.indisexclusion then 'it is temporal (WITHOUT OVERLAPS)'
                when not x.indimmediate then 'it is deferrable'
                else '' end as obstacle
    from pg_index x
    join pg_class i on i.oid = x.indexrelid
    join pg_class t on t.oid = x.indrelid
    join pg_namespace n on n.oid = t.relnamespace
    where (x.indisunique or x.indisexclusion) and n.nspname = any(:schemas)
    order by n.nspname, t.relname, i.relname
    """
)


def _read_unique_keys(
    conn: Connection, schemas: Sequence[str], default: str
) -> dict[str, list[UniqueKey]]:
    keys: dict[str, list[UniqueKey]] = {}
    for row in conn.execute(_UNIQUE_KEYS, {"schemas": list(schemas)}):
        prefix = "" if row.schema_name == default else f"{row.schema_name}."
        key = UniqueKey(row.name, tuple(row.columns), row.is_primary, row.obstacle)
        keys.setdefault(prefix + row.table_name, []).append(key)
    return keys
