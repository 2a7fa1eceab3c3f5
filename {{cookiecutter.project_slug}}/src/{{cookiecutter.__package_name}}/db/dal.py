"""The reflected tables and the engine, in one object that the application holds."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Self

from sqlalchemy import URL, MetaData, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from .engine import create_engine
from .errors import NotReflected
from .lease import Lease, PoolLease
from .reflection import Only, Reflection, read_reflection
from .transaction import DeferredTransaction, TransactionManager
from .unreachable import unreachable


class DataAccessLayer:
    """A proxy to an engine and to the tables, views and constraints reflected through it."""

    def __init__(self, *, defer_begin: bool = True) -> None:
        self.defer_begin = defer_begin
        self._engine: AsyncEngine | None = None
        self._replica: AsyncEngine | None = None
        self._reflection: Reflection | None = None
        self._reflecting = asyncio.Lock()
        self._options: dict[str, Any] = {}
        self._aliases: dict[str, Any] = {}
        self._new_lease: Callable[[bool], Lease] = self._pool_lease

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, url: str | URL, *, only: Only = None, **engine_options: Any
    ) -> AsyncIterator[Self]:
        """Make an engine, reflect, and dispose of the engine at the end.

        Raises OSError when the server cannot be reached, DBAPIError when it refuses.
        """
        dal, engine = cls(), create_engine(url, **engine_options)
        try:
            await dal.reflect(engine, only=only)
            yield dal
        finally:
            await engine.dispose()

    async def reflect(
        self,
        engine: AsyncEngine,
        metadata: MetaData | None = None,
        *,
        schemas: Sequence[str] | None = None,
        views: bool = True,
        only: Only = None,
    ) -> None:
        """Use this engine, and read its tables into `metadata` (a new one when None).

        `schemas` defaults to the connection's default schema, `only` limits the names. Raises
        OSError when the server cannot be reached and DBAPIError when it refuses; the engine stays
        in use, so that `refresh()` can try again.
        """
        self.use(engine, schemas=schemas, views=views, only=only)
        await self._read(metadata if metadata is not None else MetaData())

    def use(
        self,
        engine: AsyncEngine,
        *,
        replica: AsyncEngine | None = None,
        schemas: Sequence[str] | None = None,
        views: bool = True,
        only: Only = None,
    ) -> None:
        """Use this engine, and `replica` for read-only transactions; `refresh()` reflects."""
        self._engine, self._replica = engine, replica
        self._options = {"schemas": schemas, "views": views, "only": only}

    async def refresh(self) -> None:
        """Reflect again into a new MetaData, which replaces the old one in one step.

        Requests under way keep the tables that they already hold.
        """
        old = self._reflection.metadata if self._reflection else MetaData()
        await self._read(MetaData(naming_convention=old.naming_convention))

    async def _read(self, metadata: MetaData) -> None:
        async with self._reflecting, self.engine.connect() as conn:
            self._reflection = await read_reflection(conn, metadata, **self._options)

    @property
    def is_reflected(self) -> bool:
        """Whether the tables are known."""
        return self._reflection is not None

    @property
    def engine(self) -> AsyncEngine:
        """The engine; raises NotReflected before `reflect()`."""
        if self._engine is None:
            raise NotReflected("The engine")
        return self._engine

    @property
    def metadata(self) -> MetaData:
        """What was reflected; raises NotReflected before that."""
        return self._reflected("The metadata").metadata

    def get_table(self, name: str) -> Table:
        """The table, view or materialized view `name` or `schema.name`; raises UnknownTable."""
        return self._reflected(f"Table {name!r}").get_table(name)

    def unique_constraints(self, table: Table | str) -> Mapping[str, tuple[str, ...]]:
        """Name to columns of every unique constraint, unique index and the primary key."""
        name = table if isinstance(table, str) else table.key
        return self._reflected(f"Table {name!r}").unique_constraints(name)

    def get_unique_constraint(self, table: Table | str) -> tuple[str, ...]:
        """The columns of the one unique key besides the primary key.

        Raises LookupError when there is none or more than one.
        """
        name = table if isinstance(table, str) else table.key
        return self._reflected(f"Table {name!r}").unique_constraint(name)

    def constraint_columns(
        self, constraint: str, table: str, schema: str | None = None
    ) -> tuple[str, ...]:
        """The columns of a constraint or unique index of a table; empty when it is not known."""
        return self._reflected("The metadata").constraint_columns(constraint, table, schema)

    def set_aliased(self, name: str, alias: Any) -> None:
        """Remember an alias (a table alias, a table-valued function, ...) under a name."""
        self._aliases[name] = alias

    def get_aliased(self, name: str) -> Any:
        """The alias of this name; raises LookupError."""
        try:
            return self._aliases[name]
        except KeyError:
            known = ", ".join(sorted(self._aliases)) or "none"
            raise LookupError(f"No alias {name!r}. Known aliases: {known}.") from None

    @asynccontextmanager
    async def transaction(
        self, *, with_commit: bool = True, isolation: str | None = None, readonly: bool = False
    ) -> AsyncIterator[TransactionManager]:
        """A transaction of its own, for jobs and scripts: it commits at the end of its block.

        `isolation` is READ COMMITTED, REPEATABLE READ or SERIALIZABLE; `with_commit=False` rolls
        back at the end.
        """
        transaction = DeferredTransaction(self, isolation=isolation, readonly=readonly)
        try:
            yield transaction
            if with_commit:
                await transaction.commit()
        finally:
            await transaction.finish(
                commit=False, over="This transaction is over: its block has ended."
            )

    def lease(self, *, readonly: bool) -> Lease:
        """A connection for one transaction."""
        return self._new_lease(readonly)

    @contextmanager
    def leasing(self, new_lease: Callable[[bool], Lease]) -> Iterator[None]:
        """Take connections from elsewhere for a while; it is told whether they only read."""
        before, self._new_lease = self._new_lease, new_lease
        try:
            yield
        finally:
            self._new_lease = before

    def _pool_lease(self, readonly: bool) -> Lease:
        return PoolLease(self._replica if readonly and self._replica else self.engine)

    def _reflected(self, wanted: str) -> Reflection:
        if self._reflection is None:
            raise NotReflected(wanted)
        return self._reflection


@asynccontextmanager
async def connect_or_exit(url: str | URL, **options: Any) -> AsyncIterator[DataAccessLayer]:
    """`DataAccessLayer.connect` for commands: one line on stderr and exit status 1 on failure."""
    async with AsyncExitStack() as stack:
        try:
            dal = await stack.enter_async_context(DataAccessLayer.connect(url, **options))
        except (OSError, DBAPIError) as error:
            raise SystemExit(unreachable(error, url) or str(error)) from None
        yield dal
