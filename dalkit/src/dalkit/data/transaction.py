"""A transaction and the statements that run in it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import CursorResult, Executable, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..fast.fastpath import Call, Plan, Row
from ..fast.lease import Lease
from ..fast.watched import is_altered
from ..reflection import Reflection
from .errors import DatabaseUnreachable
from .sqlstate import is_collision

if TYPE_CHECKING:
    from .dal import DataAccessLayer

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


class TransactionManager:
    """Statements of one transaction on a connection that the caller has opened.

    `DataAccessLayer.transaction()` and the request dependencies make the ones that most code uses.
    """

    def __init__(self, conn: AsyncConnection | None, dal: "DataAccessLayer") -> None:
        self.dal = dal
        self._conn = conn
        self._aliases: dict[str, Any] = {}
        self._reflection: Reflection | None = None

    @property
    def conn(self) -> AsyncConnection:
        """SQLAlchemy's connection; raises RuntimeError until `await connection()` has made it."""
        if self._conn is None:
            raise RuntimeError("No connection is taken yet: use `await transaction.connection()`.")
        return self._conn

    @property
    def engine(self) -> AsyncEngine:
        """The engine of the data access layer."""
        return self.dal.engine

    async def connection(self) -> AsyncConnection:
        """The connection, with its transaction begun."""
        return self.conn

    async def get_dbapi_connection(self) -> Any:
        """asyncpg's own connection, in the same transaction."""
        return (await (await self.connection()).get_raw_connection()).driver_connection

    async def execute(
        self, statement: Executable, parameters: Parameters = None
    ) -> CursorResult[Any]:
        """Run one statement and return its result, already fetched.

        Raises sqlalchemy.exc.DBAPIError; its `orig.sqlstate` tells what happened.
        """
        return await (await self.connection()).execute(statement, parameters)

    async def fetch_all(self, statement: Executable, parameters: Parameters = None) -> list[Row]:
        """All rows, each a dict of column name to value; raises what `execute` does."""
        return [dict(row) for row in (await self.execute(statement, parameters)).mappings()]

    async def fetch_one(self, statement: Executable, parameters: Parameters = None) -> Row | None:
        """The first row, or None."""
        return next(iter(await self.fetch_all(statement, parameters)), None)

    async def fetch_value(self, statement: Executable, parameters: Parameters = None) -> Any:
        """The first column of the first row, or None."""
        row = await self.fetch_one(statement, parameters)
        return None if row is None else next(iter(row.values()))

    async def stream(self, statement: Executable, *, batch_size: int = 500) -> AsyncIterator[Row]:
        """Rows from a server-side cursor, `batch_size` in a round trip.

        Raises what `execute` does, and DatabaseUnreachable when the connection is lost meanwhile.
        """
        conn = await self.connection()
        driver: Any = (await conn.get_raw_connection()).driver_connection
        options = {"yield_per": batch_size}
        try:
            async with conn.stream(statement, execution_options=options) as result:
                async for row in result.mappings():
                    yield dict(row)
        except asyncpg.InterfaceError as error:  # SQLAlchemy lets the cursor's own errors through
            if not driver.is_closed():
                raise
            raise DatabaseUnreachable("The connection to the database was lost.") from error

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A part that is undone alone: an exception rolls back to here and goes on."""
        async with (await self.connection()).begin_nested():
            yield

    async def commit(self) -> None:
        """Commit; a later statement begins a new transaction."""
        self._reflection = None
        await self.conn.commit()

    async def rollback(self) -> None:
        """Roll back; a later statement begins a new transaction."""
        self._reflection = None
        await self.conn.rollback()

    def get_table(self, name: str) -> Table:
        """The reflected table or view `name` or `schema.name`; raises UnknownTable.

        All tables of a transaction are of one reflection, so that they can be joined.
        """
        if self._reflection is None:
            self._reflection = self.dal.reflection(f"Table {name!r}")
        return self._reflection.get_table(name)

    def set_aliased(self, name: str, alias: Any) -> None:
        """Remember an alias for this transaction only; it hides one of the data access layer's."""
        self._aliases[name] = alias

    def get_aliased(self, name: str) -> Any:
        """The alias of this name: this transaction's, or else the data access layer's."""
        return self._aliases[name] if name in self._aliases else self.dal.get_aliased(name)


class DeferredTransaction(TransactionManager):
    """A transaction that takes no connection and sends no BEGIN before it must."""

    def __init__(
        self, dal: "DataAccessLayer", *, isolation: str | None = None, readonly: bool = False
    ) -> None:
        super().__init__(None, dal)
        self.isolation = isolation
        self.readonly = readonly
        self.collided = False  # it may succeed when it is run again
        self._lease: Lease | None = None
        self._begun = False
        self._turn = asyncio.Lock()  # tasks that a handler gathers share the connection
        self._over = ""

    @property
    def used(self) -> bool:
        """Whether a connection was taken."""
        return self._lease is not None

    @property
    def is_over(self) -> bool:
        """Whether it was finished: it takes no connection any more."""
        return bool(self._over)

    async def connection(self) -> AsyncConnection:
        """The connection, with its transaction begun."""
        async with self._turn:
            lease = await self._open()
            if self._conn is None:
                self._conn = await lease.connection()
            return self._conn

    async def get_dbapi_connection(self) -> Any:
        """asyncpg's own connection, in the same transaction."""
        async with self._turn:
            return (await self._open()).driver

    async def execute(
        self, statement: Executable, parameters: Parameters = None
    ) -> CursorResult[Any]:
        """Run one statement and return its result, already fetched.

        Raises sqlalchemy.exc.DBAPIError; its `orig.sqlstate` tells what happened.
        """
        conn = await self.connection()
        try:
            async with self._turn:
                return await conn.execute(statement, parameters)
        except DBAPIError as error:
            self._notice(error)
            raise

    async def fetch_all(self, statement: Executable, parameters: Parameters = None) -> list[Row]:
        """All rows, each a dict of column name to value; raises what `execute` does."""
        altered = self._conn is not None and is_altered(self._conn)
        call = None if altered else self.dal.compiled(statement, parameters)
        rows = None if call is None else await self._fetch(call)
        return await super().fetch_all(statement, parameters) if rows is None else rows

    async def commit(self) -> None:
        """Commit and give the connection back; a later statement takes one again.

        Raises AbortedTransaction when an earlier error was swallowed.
        """
        if lease := self._released():
            try:
                await lease.commit()
            except DBAPIError as error:
                self._notice(error)
                raise

    async def rollback(self) -> None:
        """Roll back and give the connection back; a later statement takes one again."""
        if lease := self._released():
            await lease.rollback()

    async def finish(self, *, commit: bool, over: str) -> None:
        """End for good: what is asked of this transaction later raises RuntimeError(over)."""
        self._over = over
        await (self.commit() if commit else self.rollback())

    async def _fetch(self, call: Call) -> list[Row] | None:
        plan, values = call
        async with self._turn:
            lease = self._lease or await self._take()
            if not self._begun and self._needs_begin(plan, lease):
                await self._begin(lease)
            try:
                return await plan.fetch(lease.sender, values)
            except Exception as error:
                known = lease.as_sqlalchemys(error, plan.sql)
                self._notice(known)
                if known is error:
                    raise
                raise known from known.__cause__

    async def _open(self) -> Lease:
        """The lease, taken when there is none yet, and its transaction begun."""
        lease = self._lease or await self._take()
        if not self._begun:
            await self._begin(lease)
        return lease

    async def _begin(self, lease: Lease) -> None:
        await lease.begin(isolation=self.isolation, readonly=self.readonly)
        self._begun = self._lease is lease  # it may have ended meanwhile

    def _needs_begin(self, plan: Plan, lease: Lease) -> bool:
        """Whether this statement may not run as long as no transaction is begun."""
        may_defer = self.isolation is None and self.dal.defer_begin and lease.may_defer_begin
        return not (plan.is_plain_read and may_defer)

    async def _take(self) -> Lease:
        if self._over:
            raise RuntimeError(self._over)
        lease = self.dal.lease(readonly=self.readonly)
        await lease.open()
        if self._over:  # it ended while this task waited for a connection
            await lease.rollback()
            raise RuntimeError(self._over)
        self._lease = lease
        return lease

    def _released(self) -> Lease | None:
        """The lease, for whoever ends it; the next statement takes another."""
        lease, self._lease, self._conn, self._begun = self._lease, None, None, False
        self._reflection = None
        if lease is not None and self._turn.locked():
            lease.distrust()  # a task that was not waited for is still at work on the connection
        return lease

    def _notice(self, error: Exception) -> None:
        self.collided |= is_collision(error)
