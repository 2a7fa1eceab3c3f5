"""Holds the reflected tables, and replaces all of them at once."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import MetaData, Table
from sqlalchemy.ext.asyncio import AsyncEngine

from ..reflection import Only, Reflection, UniqueKey, ViewKeys, read_reflection
from .errors import NotReflected


class ReflectedTables:
    """The engines, and what was reflected through the first of them."""

    def __init__(self) -> None:
        self._engine: AsyncEngine | None = None
        self._replica: AsyncEngine | None = None
        self._reflection: Reflection | None = None
        self._reflecting = asyncio.Lock()
        self._begun = self._finished = 0  # the number of the last reading to begin, to finish
        self._declared: list[Table] = []
        self._options: dict[str, Any] = {}

    async def reflect(
        self,
        engine: AsyncEngine,
        metadata: MetaData | None = None,
        *,
        schemas: Sequence[str] | None = None,
        views: bool = True,
        only: Only = None,
        view_keys: ViewKeys | None = None,
    ) -> None:
        """Use this engine, and read its tables.

        Each is built when it is first asked for, with those that its foreign keys lead to; all of
        them when `dal.metadata` is, and at once into a `metadata` of your own.
        `schemas` defaults to the connection's default schema. `only` limits what is read: names,
        `schema.name`s, or a function that takes a bare name; foreign keys to anything else are left
        out, and partitions are read only when they are named. `view_keys` declares primary keys
        that PostgreSQL does not know of, {"view": ["column"]}. Raises OSError when the server
        cannot be reached and DBAPIError when it refuses; the engine stays in use, so that
        `refresh()` can try again. Raises UnknownSchema, UnknownTable, UnknownColumn.
        """
        self.use(engine, schemas=schemas, views=views, only=only, view_keys=view_keys)
        self._declared = [] if metadata is None else list(metadata.tables.values())
        async with self._reflecting:
            if metadata is None:
                await self._read(MetaData())
            else:
                await self._read(metadata, whole=True)

    def use(
        self,
        engine: AsyncEngine,
        *,
        replica: AsyncEngine | None = None,
        schemas: Sequence[str] | None = None,
        views: bool = True,
        only: Only = None,
        view_keys: ViewKeys | None = None,
    ) -> None:
        """Use this engine, and `replica` for read-only transactions; `refresh()` reflects."""
        self._engine, self._replica = engine, replica
        self._options = {"schemas": schemas, "views": views, "only": only, "view_keys": view_keys}

    async def refresh(self) -> None:
        """Reflect again, after a change of the schema, and replace all tables in one step.

        A transaction goes on with the tables that it began with. Of refreshes that wait for one
        another, only the first and one more read the catalog. When it fails, the old tables stay.
        Tables that were in use are built anew first, in a thread, so that no request waits for it.
        """
        last = self._begun
        async with self._reflecting:
            if self._finished <= last:
                await self._read(self._successor())

    def _successor(self) -> MetaData:
        """A new MetaData with the conventions, listeners and declared tables of the old one."""
        if self._reflection is None:
            return MetaData()
        old = self._reflection.metadata_so_far
        new = MetaData(old.schema, naming_convention=old.naming_convention, info=dict(old.info))
        listeners: Any = old.dispatch
        new.dispatch._update(listeners, only_propagate=False)
        for table in self._declared:
            table.to_metadata(new)
        return new

    async def _read(self, metadata: MetaData, *, whole: bool = False) -> None:
        self._begun = number = self._begun + 1
        async with self.engine.connect() as conn:
            # One moment for all statements, whoever changes the schema in between.
            _ = await conn.execution_options(isolation_level="REPEATABLE READ")
            reflection = await read_reflection(conn, metadata, **self._options)
        in_use = self._reflection.built if self._reflection else ()
        await asyncio.to_thread(reflection.build, None if whole else in_use)
        self._reflection = reflection
        self._finished = number

    @property
    def is_reflected(self) -> bool:
        """Whether the tables are known."""
        return self._reflection is not None

    @property
    def engines(self) -> tuple[AsyncEngine, ...]:
        """The engine and, if there is one, the replica; empty before `reflect()` and `use()`."""
        return tuple(engine for engine in (self._engine, self._replica) if engine is not None)

    @property
    def engine(self) -> AsyncEngine:
        """The engine; raises NotReflected before `reflect()`."""
        if self._engine is None:
            raise NotReflected("The engine")
        return self._engine

    @property
    def metadata(self) -> MetaData:
        """All tables, built now if need be (0.6 ms each); raises NotReflected before `reflect()`.

        `table.metadata` is the same object, but not every table may have been built there yet.
        """
        return self.reflection("The metadata").metadata

    def reflection(self, wanted: str) -> Reflection:
        """What is known now; it does not change. Raises NotReflected, which names `wanted`."""
        if self._reflection is None:
            raise NotReflected(wanted)
        return self._reflection

    def get_table(self, name: str) -> Table:
        """The table, view or materialized view `name` or `schema.name`; raises UnknownTable."""
        return self.reflection(f"Table {name!r}").get_table(name)

    def is_view(self, table: Table | str) -> bool:
        """Whether it is a view or materialized view, which tell nothing of NULL."""
        return "view" in self.get_table(_name(table)).info.get("kind", "")

    def unique_constraints(self, table: Table | str) -> Mapping[str, tuple[str, ...]]:
        """Name to columns of every unique constraint, unique index and the primary key."""
        return self._of(table).unique_constraints(_name(table))

    def unique_keys(self, table: Table | str) -> Mapping[str, UniqueKey]:
        """The same with predicate, expressions and what keeps a key from being a conflict target.

        Exclusion constraints too.
        """
        return {key.name: key for key in self._of(table).keys_of(_name(table))}

    def get_unique_constraint(self, table: Table | str) -> tuple[str, ...]:
        """The columns of the one unique key besides the primary key.

        Raises LookupError when there is none or more than one.
        """
        return self._of(table).unique_constraint(_name(table))

    def constraint_columns(
        self, constraint: str, table: str, schema: str | None = None
    ) -> tuple[str, ...]:
        """The columns of a constraint or unique index of a table; empty when it is not known."""
        return self.reflection("The metadata").constraint_columns(constraint, table, schema)

    def _of(self, table: Table | str) -> Reflection:
        return self.reflection(f"Table {_name(table)!r}")


def _name(table: Table | str) -> str:
    return table if isinstance(table, str) else table.key
