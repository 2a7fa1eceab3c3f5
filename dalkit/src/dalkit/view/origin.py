"""Reads from the origin, in transactions that cannot write, and tells when it is out of reach."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from weakref import WeakSet

import asyncpg
from sqlalchemy import URL, Executable, Table, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.types import NullType, TypeEngine

from ..data.dal import DataAccessLayer
from ..data.engine import create_engine
from ..data.faults import cause_of, fault_of
from ..data.transaction import Parameters
from ..data.urls import DatabaseUrlError
from ..errors import DatabaseUnreachable, is_collision, sqlstate_of
from ..fast.lease import Lease
from ..reflection.reflection import collector_paused
from .codec import without_records
from .errors import OriginError
from .tables import TableInfo, describe

Given = DataAccessLayer | AsyncEngine | URL | str | None
Values = Sequence[Any]
Rows = list[Any]
Read = Callable[["Query", Values], Awaitable[Rows]]
#: Seconds that a statement to the origin may take.
TIMEOUT = 30.0

log = logging.getLogger("dalkit.view")


class Query(NamedTuple):
    """A statement, and the names of the columns that are wanted of its rows, with their types."""

    sql: str
    names: tuple[str, ...]
    types: tuple[TypeEngine[Any], ...]


class Origin:
    """The database that a view reads, by a DataAccessLayer, an engine or a URL.

    Of a URL it makes an engine of its own, whose sessions are read-only: a statement is one round
    trip. On an engine of others each statement needs a transaction of its own to be read-only, of
    which the answer does not wait for the end.
    """

    def __init__(self, given: DataAccessLayer | AsyncEngine | URL | str, timeout: float) -> None:
        self._given = given
        self._timeout = timeout
        self._own: AsyncEngine | None = None
        self._dal: DataAccessLayer | None = given if isinstance(given, DataAccessLayer) else None
        self._readers: dict[tuple[str, tuple[str, ...]], Reader] = {}
        self._connections: WeakSet[asyncpg.Connection] = WeakSet()
        self._ends: set[asyncio.Task[None]] = set()

    @property
    def dal(self) -> DataAccessLayer:
        """What runs statements."""
        if self._dal is None:
            self._dal = DataAccessLayer()
            self._dal.use(self._engine())
        return self._dal

    def _engine(self) -> AsyncEngine:
        if isinstance(self._given, AsyncEngine):
            return self._given
        settings = {"default_transaction_read_only": "on", "application_name": "dalkit.view"}
        self._own = create_engine(
            self._given,  # type: ignore[arg-type]
            pool_size=5,
            pool_use_lifo=True,  # the last one used knows most of the statements
            connect_timeout=min(5.0, self._timeout),
            connect_args={"server_settings": settings},
        )
        event.listen(self._own.sync_engine, "connect", self._remember)
        return self._own

    def _remember(self, connection: Any, _: object) -> None:
        self._connections.add(connection.driver_connection)

    async def close(self) -> None:
        """Wait for the ends of transactions, and close what this has opened.

        Not politely, as a server that has fallen silent would never answer; nothing is begun.
        """
        if self._ends:
            await asyncio.wait(self._ends)
        for connection in self._connections:
            connection.terminate()
        if self._own is not None:
            await self._own.dispose()

    async def tables(self, names: Sequence[str]) -> dict[str, tuple[TableInfo, Table]]:
        """These tables, by the name that was asked for.

        Raises UnknownTable, UnknownSchema and OriginError.
        """
        if self._given is not self._dal:
            try:
                engine = self._own or self._engine()
            except DatabaseUrlError as error:
                raise OriginError(str(error)) from error
            try:
                await self._reflect(engine, names)
            except (OSError, DBAPIError) as error:
                raise OriginError(cause_of(error, engine.url)) from error
        dal = self.dal
        return {name: (describe(dal, dal.get_table(name)), dal.get_table(name)) for name in names}

    async def _reflect(self, engine: AsyncEngine, names: Sequence[str]) -> None:
        dal = self._dal = DataAccessLayer()
        schemas = [name.rpartition(".")[0] for name in names]
        qualified = [schema for schema in dict.fromkeys(schemas) if schema]
        async with asyncio.timeout(self._timeout):
            default = [await _default_schema(engine)] if "" in schemas else []
            chosen = list(dict.fromkeys([*default, *qualified]))
            await dal.reflect(engine, schemas=chosen, only=list(dict.fromkeys(names)))

    async def read(self, query: Query, values: Values) -> Rows:
        """The rows of one statement. Raises DBAPIError, DatabaseUnreachable and TimeoutError."""
        try:
            return await self._read_once(query, values)
        except Exception as error:
            if not is_collision(error):
                raise
            self._readers.clear()  # the schema has changed: a prepared statement is stale
        return await self._read_once(query, values)

    async def _read_once(self, query: Query, values: Values, *, until: float | None = None) -> Rows:
        """The rows from the replica, or from the primary where that has failed `until` then."""
        lease: Lease | None = None
        is_done = is_replicas = False
        asks_replica = until is None
        if until is None:
            until = asyncio.get_running_loop().time() + self._timeout
        limit = asyncio.timeout_at(until)
        try:
            async with limit:
                if asks_replica:
                    lease = await self._replica_lease(None)
                is_replicas = lease is not None
                if lease is None:
                    lease = await self._lease(None)
                rows = await self._fetch(lease, query, values)
            is_done = True
            return rows
        except Exception as error:
            if limit.expired() or not (is_replicas and self._has_failed(error)):
                raise  # a statement that is slow says nothing of the replica
        finally:
            if lease is not None:
                if not is_done:
                    lease.close_at_end()
                self._end_later(lease)
        return await self._read_once(query, values, until=until)

    async def _lease(self, isolation: str | None) -> Lease:
        """A connection of the primary, in a transaction that cannot write."""
        lease = self.dal.new_lease(False)
        await lease.open()
        if self._own is None or isolation is not None:
            await _begin(lease, isolation)
        return lease

    async def _replica_lease(self, isolation: str | None) -> Lease | None:
        """The same of the replica; None without one, and when it cannot be used now."""
        lease = await self.dal.replica_lease(None, isolation=isolation, readonly=True)
        if lease is not None and lease.may_defer_begin:  # else it has begun
            try:
                await _begin(lease, isolation)
            except Exception as error:
                if not self._has_failed(error):
                    raise
                return None
        return lease

    def _has_failed(self, error: Exception) -> bool:
        """Whether a read of the replica is one for the primary, as it is out of reach."""
        if self.dal.replica is None or not is_unreachable(error):
            return False
        self.dal.replica.failed(error)
        return True

    def _end_later(self, lease: Lease) -> None:
        """Send ROLLBACK and give the connection back, while the rows are on their way."""
        task = asyncio.get_running_loop().create_task(lease.rollback())
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    async def _fetch(self, lease: Lease, query: Query, values: Values) -> Rows:
        reader = self._readers.get((query.sql, query.names))
        try:
            if reader is None:
                attributes = (await lease.sender.prepare(query.sql)).get_attributes()
                reader = Reader(query, attributes, self.dal.engine.dialect)
                self._readers[query.sql, query.names] = reader
            log.debug("%s", query.sql)
            records = await lease.sender.fetch(query.sql, *values)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            known = lease.as_sqlalchemys(error, query.sql)
            if known is error:
                raise
            raise known from known.__cause__
        return reader.rows(records)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Read]:
        """Reads of one moment: what one yields raises as `read` does, and others may go on."""
        lease = await self._replica_lease("REPEATABLE READ") or await self._lease("REPEATABLE READ")
        try:

            async def read(query: Query, values: Values) -> Rows:
                async with asyncio.timeout(self._timeout):
                    await lease.sender.execute("SAVEPOINT part")
                    try:
                        return await self._fetch(lease, query, values)
                    except Exception as error:
                        if not is_unreachable(error):
                            await lease.sender.execute("ROLLBACK TO part")
                        raise

            yield read
        finally:
            lease.close_at_end()
            await lease.rollback()

    async def execute(self, statement: Executable, parameters: Parameters) -> list[dict[str, Any]]:
        """The rows of a statement of the user's own, by column name."""
        async with (
            asyncio.timeout(self._timeout),
            self.dal.transaction(with_commit=False, readonly=True) as transaction,
        ):
            return await transaction.fetch_all(statement, parameters)


class Reader:
    """Makes tuples of a statement's records: its columns by name, in the order of the query."""

    def __init__(self, query: Query, attributes: Sequence[Any], dialect: Any) -> None:
        names = [one.name for one in attributes]
        missing = [name for name in query.names if name not in names]
        if missing:
            raise LookupError(
                f"The statement has no column {missing[0]!r}; its columns are {', '.join(names)}."
            )
        self._names = names
        positions = [names.index(name) for name in query.names]
        self._positions = None if positions == list(range(len(names))) else positions
        self._processors: list[tuple[int, Callable[[Any], Any]]] = []
        for place, (position, type_) in enumerate(zip(positions, query.types, strict=True)):
            process: Any = type_._cached_result_processor(dialect, attributes[position].type.oid)
            if isinstance(type_, NullType):
                process = without_records
            if process is not None:
                self._processors.append((place, process))

    def rows(self, records: Sequence[Any]) -> Rows:
        """The rows, as asyncpg has made them where that will do."""
        if self._positions is None and not self._processors:
            return list(records)
        with collector_paused():
            positions = self._positions or range(len(self._names))
            columns: list[Any] = [[record[i] for record in records] for i in positions]
            for place, process in self._processors:
                columns[place] = [process(value) for value in columns[place]]
            return list(zip(*columns, strict=True))


async def _begin(lease: Lease, isolation: str | None) -> None:
    try:
        await lease.begin(isolation=isolation, readonly=True)
    except BaseException:
        lease.close_at_end()
        await lease.rollback()
        raise


async def _default_schema(engine: AsyncEngine) -> str:
    async with engine.connect() as conn:
        return getattr(conn.dialect, "default_schema_name", None) or "public"


def is_unreachable(error: BaseException) -> bool:
    """Whether an error says that the origin cannot be used now, and not that the request is wrong.

    A refused password and a database that does not exist are wrong.
    """
    if isinstance(error, OriginError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, DatabaseUnreachable | OSError):
        return True
    sqlstate = sqlstate_of(error) or ""
    if sqlstate.startswith(("28", "3D")) or sqlstate == "25006":
        return False
    fault = fault_of(error)
    return fault is not None and fault.kind in ("outage", "unavailable")
