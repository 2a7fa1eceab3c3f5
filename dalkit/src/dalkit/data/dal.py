"""The reflected tables and the engine, in one object that the application holds."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Self

from sqlalchemy import URL, Executable, MetaData, QueuePool, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from ..errors import NotReflected, TooManyStreams
from ..fast.checkout import Checkout
from ..fast.fastpath import Call, Plans
from ..fast.lease import Lease, PoolLease
from ..fast.wire import is_watched
from ..reflection import Only, Reflection, UniqueKey, ViewKeys, read_reflection
from .engine import create_engine
from .faults import unreachable
from .position import Position
from .replica import Replica
from .transaction import TransactionManager
from .urls import DatabaseUrlError

#: Called with a data access layer that has reflected; dalkit.orm maps its models so.
MODEL_MAPPERS: list[Callable[["DataAccessLayer"], None]] = []


class DataAccessLayer:
    """An engine, and the tables, views and constraints reflected through it."""

    def __init__(self, *, fast_path: bool = True, defer_begin: bool = True) -> None:
        self.fast_path = fast_path
        self.defer_begin = defer_begin
        self._engine: AsyncEngine | None = None
        self.replica: Replica | None = None
        self._reflection: Reflection | None = None
        self._reflecting = asyncio.Lock()
        self._begun = self._finished = 0  # the number of the last reading to begin, to finish
        self._declared: list[Table] = []
        self._options: dict[str, Any] = {}
        self._aliases: dict[str, Any] = {}
        self._plans: Plans | None = None
        self._checkouts: dict[AsyncEngine, Checkout] = {}
        self._streams = 0
        #: Makes the connection of a transaction; it is told whether that only reads.
        self.new_lease: Callable[[bool], Lease] = self._pool_lease

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str | URL,
        *,
        schemas: Sequence[str] | None = None,
        views: bool = True,
        only: Only = None,
        view_keys: ViewKeys | None = None,
        **engine_options: Any,
    ) -> AsyncIterator[Self]:
        """Make an engine, reflect as `reflect()` does, and dispose of the engine at the end.

        Raises OSError when the server cannot be reached, DBAPIError when it refuses.
        """
        dal, engine = cls(), create_engine(url, **engine_options)
        try:
            await dal.reflect(engine, schemas=schemas, views=views, only=only, view_keys=view_keys)
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
        whole, metadata = metadata is not None, MetaData() if metadata is None else metadata
        self._declared = list(metadata.tables.values())
        async with self._reflecting:
            await self._read(metadata, whole=whole)

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
        engines, before = [engine, replica or engine], self._checkouts
        self._engine = engine
        self._checkouts = {one: before.get(one) or Checkout(one) for one in engines}
        places = [self._checkouts[one] for one in engines]
        self.replica = Replica(places[1], primary=places[0]) if replica else None
        self._options = {"schemas": schemas, "views": views, "only": only, "view_keys": view_keys}

    def begin_stream(self) -> None:
        """Count a request that holds its connection as long as its client likes.

        Half of the pool is for them: a slow client must not keep others from the database. Raises
        TooManyStreams beyond that; `end_stream` gives the place back.
        """
        pool = self.engine.pool
        if isinstance(pool, QueuePool) and self._streams >= max(1, pool.size() // 2):
            raise TooManyStreams(f"{self._streams} requests stream from a pool of {pool.size()}.")
        self._streams += 1

    def end_stream(self) -> None:
        """Give back the place that `begin_stream` took."""
        self._streams -= 1

    async def refresh(self) -> None:
        """Reflect again, after a change of the schema, and replace all tables in one step.

        A transaction goes on with the tables that it began with. Of refreshes that wait for one
        another, only the first and one more read the catalog. When it fails, the old tables stay.
        Tables that were in use are built anew first, in a thread, so that no request waits for it.
        Raises what `reflect` does.
        """
        last = self._begun
        async with self._reflecting:
            if self._finished <= last:
                await self._read(self._successor())
        self._plans = None  # they are of the old tables

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
        self.map_models()

    def map_models(self) -> None:
        """Map the ORM's models of reflected tables that are not mapped on these tables yet."""
        for map_models in MODEL_MAPPERS:
            map_models(self)

    @property
    def is_reflected(self) -> bool:
        """Whether the tables are known."""
        return self._reflection is not None

    @property
    def engines(self) -> tuple[AsyncEngine, ...]:
        """The engine and, if there is one, the replica; empty before `reflect()` and `use()`."""
        if self._engine is None:
            return ()
        return (self._engine, self.replica.checkout.engine) if self.replica else (self._engine,)

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
        """The table, view or materialized view `name` or `schema.name`.

        Raises UnknownTable, and NotReflected before `reflect()`.
        """
        return self.reflection(f"Table {name!r}").get_table(name)

    def is_view(self, table: Table | str) -> bool:
        """Whether it is a view or materialized view, which tell nothing of NULL."""
        return "view" in self.get_table(_name(table)).info.get("kind", "")

    def unique_keys(self, table: Table | str) -> Mapping[str, UniqueKey]:
        """Name to key of the primary key, and every unique and exclusion constraint and index.

        Raises UnknownTable, and NotReflected before `reflect()`.
        """
        name = _name(table)
        return {key.name: key for key in self.reflection(f"Table {name!r}").unique_keys(name)}

    def unique_constraints(self, table: Table | str) -> Mapping[str, tuple[str, ...]]:
        """Name to columns of every unique constraint, unique index and the primary key.

        Raises what `unique_keys` does.
        """
        return {name: key.columns for name, key in self.unique_keys(table).items() if key.is_unique}

    def get_unique_constraint(self, table: Table | str) -> tuple[str, ...]:
        """The columns of the one unique key besides the primary key.

        Raises LookupError when there is none or more than one.
        """
        keys = [k for k in self.unique_keys(table).values() if k.is_unique and not k.is_primary]
        if len(keys) != 1:
            found = ", ".join(key.name for key in keys) or "none"
            raise LookupError(
                f"Table {_name(table)!r} has {len(keys)} unique constraints besides its primary "
                f"key ({found}); name the one you mean with unique_constraints()."
            )
        return keys[0].columns

    def set_aliased(self, name: str, alias: Any) -> None:
        """Keep an alias (a table alias, a table-valued function, ...) under a name."""
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
        self,
        *,
        with_commit: bool = True,
        isolation: str | None = None,
        readonly: bool = False,
        context: Mapping[str, str | None] | None = None,
    ) -> AsyncIterator[TransactionManager]:
        """A transaction of its own, for jobs and scripts: it commits at the end of its block.

        `isolation` is READ COMMITTED, REPEATABLE READ or SERIALIZABLE; `with_commit=False` rolls
        back at the end. `context` sets custom parameters until the end, such as
        {"app.user": "ada"}, with BEGIN itself; None leaves one out. Raises what
        `TransactionManager.commit` does.
        """
        options: Any = {"isolation": isolation, "readonly": readonly, "context": context}
        transaction = TransactionManager(None, self, **options)
        try:
            yield transaction
            if with_commit:
                await transaction.commit()
        finally:
            await transaction.finish(
                commit=False, over="This transaction is over: its block has ended."
            )

    @asynccontextmanager
    async def session(
        self,
        *,
        with_commit: bool = True,
        isolation: str | None = None,
        readonly: bool = False,
        context: Mapping[str, str | None] | None = None,
    ) -> AsyncIterator[AsyncSession]:
        """The ORM's session of a transaction of its own; arguments and end as `transaction` has."""
        options: Any = {"isolation": isolation, "readonly": readonly, "context": context}
        async with self.transaction(with_commit=with_commit, **options) as transaction:
            yield transaction.session

    def compiled(
        self, statement: Executable, parameters: object, *, silent: bool = False
    ) -> Call | None:
        """How to run a statement on asyncpg itself; None when SQLAlchemy has to run it.

        `silent` takes one that returns no rows, too, which SQLAlchemy refuses to fetch.
        """
        engine = self.engine
        if not self.fast_path or any(map(is_watched, self.engines)):
            return None
        dialect = engine.sync_engine.dialect
        if self._plans is None or self._plans.dialect is not dialect:
            self._plans = Plans(dialect)
        call = self._plans.call(statement, parameters)
        return None if call is None or not (silent or call.plan.returns_rows) else call

    @contextmanager
    def leasing(self, new_lease: Callable[[bool], Lease]) -> Iterator[None]:
        """Take connections from elsewhere for a while."""
        before, self.new_lease = self.new_lease, new_lease
        try:
            yield
        finally:
            self.new_lease = before

    def _pool_lease(self, readonly: bool) -> Lease:
        if readonly and self.replica:
            return PoolLease(self.replica.checkout)
        return PoolLease(self._checkouts[self.engine])

    async def replica_lease(self, after: Position | None, **begin: Any) -> PoolLease | None:
        """What `Replica.lease` gives; None where there is no replica or connections are lent."""
        if self.replica is None or self.new_lease != self._pool_lease:
            return None
        return await self.replica.lease(after, **begin)


@asynccontextmanager
async def connect_or_exit(url: str | URL, **options: Any) -> AsyncIterator[DataAccessLayer]:
    """`DataAccessLayer.connect` for commands: one line on stderr and exit status 1 on failure."""
    async with AsyncExitStack() as stack:
        try:
            dal = await stack.enter_async_context(DataAccessLayer.connect(url, **options))
        except (OSError, DBAPIError) as error:
            raise SystemExit(unreachable(error, url) or str(error)) from None
        except DatabaseUrlError as error:
            raise SystemExit(str(error)) from None
        yield dal


def _name(table: Table | str) -> str:
    return table if isinstance(table, str) else table.key
