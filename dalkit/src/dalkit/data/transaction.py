"""A transaction and the statements that run in it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakMethod

import anyio
import asyncpg
from sqlalchemy import CursorResult, Executable, Table, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from ..errors import (
    LOST,
    AbortedTransaction,
    DatabaseUnreachable,
    is_collision,
    is_goodbye,
    sqlstate_of,
)
from ..fast import wire
from ..fast.fastpath import Call, Plan, Row
from ..fast.lease import ROLLBACK_TIMEOUT, Lease, LeasedConnection
from ..reflection import Reflection
from .faults import fault_of
from .position import Position, written
from .session import TransactionSession

if TYPE_CHECKING:
    from .dal import DataAccessLayer

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
#: Custom parameters of PostgreSQL and their values, or what tells them when the transaction begins.
Context = Mapping[str, str | None] | Callable[[], Mapping[str, str | None]] | None


class TransactionManager:
    """A transaction: on a connection that the caller has opened, or on one of the pool.

    `TransactionManager(conn, dal)` leaves it to the caller to open and close the connection. The
    transactions of `DataAccessLayer.transaction()` and of requests are made with None: they take no
    connection and send no BEGIN before they must. `isolation`, `readonly` and `context` are for
    these.
    """

    def __init__(
        self,
        conn: AsyncConnection | None,
        dal: "DataAccessLayer",
        *,
        isolation: str | None = None,
        readonly: bool = False,
        context: Context = None,
    ) -> None:
        self.dal = dal
        self.isolation = isolation
        self.readonly = readonly
        self.collided = False  # it may succeed when it is run again
        self.fresh = False  # it reads from the primary
        self.after: Position | None = None  # what a replica must have replayed
        self.position: Position | None = None  # of what was committed, where it was asked for
        self._context = context
        self._is_given = conn is not None
        self._conn = conn
        self._aliases: dict[str, Any] = {}
        self._reflection: Reflection | None = None
        self._lease: Lease | None = None
        self._is_on_replica = False
        self._begun = False
        self._settings: dict[str, str] = {}  # the context of this lease
        self._deadline: tuple[asyncpg.Connection, float | None] | None = None  # to be restored
        self._lock = asyncio.Lock()  # tasks that a handler gathers share the connection
        self._over = ""
        self._session: TransactionSession | None = None

    @property
    def conn(self) -> AsyncConnection:
        """SQLAlchemy's connection; raises RuntimeError until `await connection()` has made it."""
        if self._conn is None:
            raise RuntimeError("No connection is taken yet: use `await transaction.connection()`.")
        return self._conn

    @property
    def engine(self) -> AsyncEngine:
        """The engine of the data access layer; raises NotReflected before it has one."""
        return self.dal.engine

    @property
    def used(self) -> bool:
        """Whether a connection of the pool was taken."""
        return self._lease is not None

    @property
    def is_over(self) -> bool:
        """Whether it was finished: it takes no connection any more."""
        return bool(self._over)

    @property
    def session(self) -> AsyncSession:
        """The ORM's session of this transaction, made now if need be; it takes no connection yet.

        It is flushed before each statement of this transaction and before COMMIT. Its `commit()`
        and `rollback()` are those of this transaction. Raises RuntimeError when that is over.
        """
        if self._session is None:
            if self._over:
                raise RuntimeError(self._over)
            self.dal.map_models()
            self._session = TransactionSession(self)
        return self._session

    @property
    def made_connection(self) -> AsyncConnection | None:
        """SQLAlchemy's connection if there is one, which then is in the transaction."""
        return self._conn

    async def connection(self) -> AsyncConnection:
        """SQLAlchemy's connection, with its transaction begun."""
        await self._flush()
        return await self.own_connection()

    async def own_connection(self) -> AsyncConnection:
        """The same for its session, which is not flushed first."""
        if self._is_given:
            return self.conn
        async with self._lock:
            lease = await self._open()
            if self._conn is None:
                self._conn = await lease.connection()
                if isinstance(self._conn.sync_connection, LeasedConnection):
                    self._conn.sync_connection.on_error = WeakMethod(self._notice)
            return self._conn

    async def get_dbapi_connection(self) -> Any:
        """asyncpg's own connection, in the same transaction."""
        await self._flush()
        if self._is_given:
            return (await self.conn.get_raw_connection()).driver_connection
        async with self._lock:
            return (await self._open()).driver

    async def execute(
        self, statement: Executable, parameters: Parameters = None
    ) -> CursorResult[Any]:
        """Run one statement and return its result, already fetched.

        Raises sqlalchemy.exc.DBAPIError, whose `orig.sqlstate` tells what happened, and
        DatabaseUnreachable when there is no answer within the statement timeout and some seconds.
        """
        conn = await self.connection()
        try:
            async with self._lock:
                return await conn.execute(statement, parameters)
        except TimeoutError as error:
            known = await _unanswered(conn)
            self._notice(known)
            raise known from error
        except (DBAPIError, asyncpg.InternalClientError) as error:
            self._notice(error)
            if is_goodbye(error):
                raise DatabaseUnreachable(LOST) from error
            raise

    async def run(self, statement: Executable, parameters: Parameters = None) -> None:
        """Run one statement for what it does; raises what `execute` does."""
        if self._session is not None:
            await self._session.flush_for_core()
        call = self._compiled(statement, parameters, silent=True)
        if call is None or await self._fetch(call) is None:
            await self.execute(statement, parameters)

    async def fetch_all(self, statement: Executable, parameters: Parameters = None) -> list[Row]:
        """All rows, each a dict of column name to value; raises what `execute` does."""
        if self._session is not None:  # as _flush does, which costs a coroutine
            await self._session.flush_for_core()
        if (call := self._compiled(statement, parameters)) is not None:
            rows = await self._fetch(call)
            if rows is not None:
                return rows
        return [dict(row) for row in (await self.execute(statement, parameters)).mappings()]

    async def fetch_one(self, statement: Executable, parameters: Parameters = None) -> Row | None:
        """The first row, or None; raises what `execute` does."""
        return next(iter(await self.fetch_all(statement, parameters)), None)

    async def fetch_value(self, statement: Executable, parameters: Parameters = None) -> Any:
        """The first column of the first row, or None; raises what `execute` does."""
        row = await self.fetch_one(statement, parameters)
        return None if row is None else next(iter(row.values()))

    async def stream(self, statement: Executable, *, batch_size: int = 500) -> AsyncIterator[Row]:
        """Rows from a server-side cursor, `batch_size` in a round trip.

        Raises what `execute` does, and DatabaseUnreachable when the connection is lost meanwhile.
        """
        await self._flush()
        call = self._compiled(statement, None)
        read = None if call is None else await self._reader(call)
        if read is not None:
            while rows := await read(batch_size):
                for row in rows:
                    yield row
            return
        conn = await self.connection()
        driver: Any = (await conn.get_raw_connection()).driver_connection
        options = {"yield_per": batch_size}
        try:
            async with conn.stream(statement, execution_options=options) as result:
                async for mapping in result.mappings():
                    yield dict(mapping)
                    if self._over:  # the connection may be another transaction's by now
                        raise RuntimeError(self._over)
        except TimeoutError as error:
            raise await _unanswered(conn) from error
        except asyncpg.InterfaceError as error:  # SQLAlchemy lets the cursor's own errors through
            if not driver.is_closed():
                raise
            raise DatabaseUnreachable(LOST) from error

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A part that is undone alone: an exception rolls back to here and goes on."""
        conn = await self.own_connection()
        async with conn.begin_nested() if self._session is None else self._session.begin_nested():
            yield

    def before_stream(self) -> None:
        """Called when its session is about to stream; here nothing is to be done."""

    async def set_statement_timeout(self, seconds: float) -> None:
        """Let each later statement of this transaction take so long; 0 means no limit.

        Raises what `execute` does. In contrast to `SET LOCAL statement_timeout`, the client waits
        for the answer accordingly.
        """
        milliseconds = str(round(seconds * 1000))
        await self.execute(select(func.set_config("statement_timeout", milliseconds, True)))
        driver = await self.get_dbapi_connection()
        self._deadline = self._deadline or (driver, wire.deadline(driver))
        wire.set_deadline(driver, seconds + wire.GRACE if seconds else None)

    async def commit(self) -> None:
        """Commit, and give a connection of the pool back; a later statement begins anew.

        Raises AbortedTransaction, with everything rolled back, when an earlier error was swallowed,
        and DatabaseUnreachable when the outcome is not known. When the session cannot be flushed,
        everything is rolled back, too, and this raises what that has raised.
        """
        await self._commit_all("")

    async def rollback(self) -> None:
        """Roll back, and give a connection of the pool back; a later statement begins anew."""
        await self._rollback_all("")

    async def finish(self, *, commit: bool, over: str) -> None:
        """End for good: what is asked of this transaction later raises RuntimeError(over)."""
        # Not self.commit(): a request's transaction refuses that to its handler.
        try:
            await (self._commit_all(over) if commit else self._rollback_all(over))
        finally:
            # They know this transaction, or its request does: no circle is left behind.
            self._session = self._context = None

    async def _commit_all(self, over: str) -> None:
        """Flush the session and commit; what the flush needs is not over yet."""
        session = self._session
        if session is None:
            await self._commit(over)
            return
        try:
            if session.sync_session.is_spoilt:
                raise AbortedTransaction
            await session.commit_with(partial(self._commit, over))
            await self._commit(over)  # unless the session has done so
        except BaseException:
            await self._rollback_all(over)
            raise

    async def _rollback_all(self, over: str) -> None:
        self._over = over
        await self._undo_session(for_good=bool(over))
        await self._rollback()

    async def _undo_session(self, *, for_good: bool) -> None:
        """Let the session forget what was not committed, before ROLLBACK is sent."""
        if self._session is not None:
            with anyio.move_on_after(ROLLBACK_TIMEOUT, shield=True), suppress(Exception):
                await self._session.undo(for_good=for_good)

    async def _flush(self) -> None:
        if self._session is not None:
            await self._session.flush_for_core()

    async def _commit(self, over: str = "") -> None:
        self._over = over
        try:
            if self._is_given:
                self._reflection = None
                await self._commit_given()
            elif lease := self._released():
                await lease.commit(self._locate if self._is_located else None)
        except DBAPIError as error:
            self._notice(error)
            raise
        except TimeoutError as error:
            raise await _unanswered(self.conn, "COMMIT") from error
        finally:
            self._restore_deadline()

    async def _rollback(self) -> None:
        try:
            if self._is_given:
                self._reflection = None
                await self.conn.rollback()
            elif lease := self._released():
                await lease.rollback()
        finally:
            self._restore_deadline()

    def get_table(self, name: str) -> Table:
        """The reflected table or view `name` or `schema.name`; raises UnknownTable, NotReflected.

        All tables of a transaction are of one reflection, so that they can be joined.
        """
        if self._reflection is None:
            self._reflection = self.dal.reflection(f"Table {name!r}")
        return self._reflection.get_table(name)

    def set_aliased(self, name: str, alias: Any) -> None:
        """Keep an alias for this transaction only; it hides one of the data access layer's."""
        self._aliases[name] = alias

    def get_aliased(self, name: str) -> Any:
        """The alias of this name, this transaction's or the data access layer's; or LookupError."""
        return self._aliases[name] if name in self._aliases else self.dal.get_aliased(name)

    def _compiled(
        self, statement: Executable, parameters: Parameters, *, silent: bool = False
    ) -> Call | None:
        if self._is_given or (self._conn is not None and wire.is_altered(self._conn)):
            return None
        return self.dal.compiled(statement, parameters, silent=silent)

    async def _fetch(self, call: Call) -> list[Row] | None:
        plan, values = call
        async with self._lock:
            lease = self._lease or await self._take()
            if not self._begun and not (plan.is_plain_read and self._may_defer_begin(lease)):
                await self._begin(lease)
            try:
                return await plan.fetch(lease.sender, values)
            except Exception as error:  # noqa: BLE001 - raised, or what SQLAlchemy would raise
                self._raise(error, lease, plan)

    async def _reader(self, call: Call) -> Callable[[int], Awaitable[list[Row]]] | None:
        """What reads the next rows, at most so many; None where `_fetch` gives None."""
        plan, values = call
        async with self._lock:
            lease = await self._open()
            try:
                cursor = await plan.open(lease.sender, values)
            except Exception as error:  # noqa: BLE001 - as in _fetch
                self._raise(error, lease, plan)
        if cursor is None:
            return None

        async def read(most: int) -> list[Row]:
            async with self._lock:
                if self._over:  # the connection may be another transaction's by now
                    raise RuntimeError(self._over)
                try:
                    return await plan.read(lease.driver, cursor, most)
                except Exception as error:
                    if isinstance(error, asyncpg.InterfaceError) and lease.driver.is_closed():
                        self._notice(lost := DatabaseUnreachable(LOST))
                        raise lost from error
                    self._raise(error, lease, plan)

        return read

    def _raise(self, error: Exception, lease: Lease, plan: Plan) -> NoReturn:
        """Raise what SQLAlchemy would for what asyncpg has raised."""
        known = lease.as_sqlalchemys(error, plan.sql)
        self._notice(known)
        if known is error:
            raise error
        raise known from known.__cause__

    async def _open(self) -> Lease:
        """The lease, taken when there is none yet, and its transaction begun."""
        lease = self._lease or await self._take()
        if not self._begun:
            await self._begin(lease)
        return lease

    def _may_defer_begin(self, lease: Lease) -> bool:
        is_asked_for = self.isolation is not None or self._settings
        return not is_asked_for and self.dal.defer_begin and lease.may_defer_begin

    async def _begin(self, lease: Lease) -> None:
        options: Any = {"isolation": self.isolation, "readonly": self.readonly}
        try:
            await lease.begin(**options, context=self._settings)
        except Exception as error:
            self._notice(error)
            raise
        self._begun = self._lease is lease  # it may have ended meanwhile

    async def _take(self) -> Lease:
        if self._over:
            raise RuntimeError(self._over)
        context = self._context() if callable(self._context) else self._context
        self._settings = wire.checked_context(context) if context else {}
        lease: Lease | None = None if self.dal.replica is None else await self._replica_lease()
        self._is_on_replica = lease is not None
        if lease is None:
            lease = self.dal.new_lease(False)
            await lease.open()
        if self._over:  # it ended while this task waited for a connection
            await lease.rollback()
            raise RuntimeError(self._over)
        self._lease = lease
        self._begun = self._is_on_replica and not lease.may_defer_begin
        return lease

    async def _replica_lease(self) -> Lease | None:
        # A snapshot that lasts would be older than the answer to whether it is recent enough.
        lasts = self.isolation not in (None, "READ COMMITTED")
        if not self.readonly or self.fresh or (self.after and lasts):
            return None
        options: Any = {"isolation": self.isolation, "readonly": True, "context": self._settings}
        return await self.dal.replica_lease(self.after, **options)

    @property
    def _is_located(self) -> bool:
        """Whether a client is told how far the log has come."""
        return False

    async def locate(self) -> None:
        """Note where the primary is now, when a client is told of it; before a rollback only."""
        if self._is_located:
            async with self._lock:
                lease = await self._open()
                try:
                    await self._locate(lease.driver)
                except Exception:  # noqa: BLE001 - it is worth less than the answer
                    lease.close_at_end()

    async def _locate(self, driver: asyncpg.Connection) -> None:
        self.position = await written(driver)
        if self.dal.replica:
            self.dal.replica.reached(self.position)

    def _released(self) -> Lease | None:
        """The lease, for whoever ends it; the next statement takes another."""
        lease, self._lease, self._conn, self._begun = self._lease, None, None, False
        self._reflection = None
        if lease is not None and self._lock.locked():
            lease.close_at_end()  # a task that was not waited for is still at work on it
        return lease

    async def _commit_given(self) -> None:
        """COMMIT by way of SQLAlchemy, which does not tell that the answer was ROLLBACK."""
        if self.conn.in_transaction():
            try:
                await self.conn.exec_driver_sql("SELECT")
            except DBAPIError as error:
                if sqlstate_of(error) != "25P02":  # in_failed_sql_transaction
                    raise
                await self.conn.rollback()
                raise AbortedTransaction from error
        await self.conn.commit()

    def _restore_deadline(self) -> None:
        if self._deadline is not None:
            wire.set_deadline(*self._deadline)
            self._deadline = None

    def _notice(self, error: Exception) -> None:
        is_lost = self._is_on_replica and _is_outage(error)
        if is_lost and self.dal.replica:
            self.dal.replica.failed(error)
        self.collided |= is_collision(error) or is_lost


def _is_outage(error: Exception) -> bool:
    fault = fault_of(error)
    return fault is not None and fault.is_outage


async def _unanswered(conn: AsyncConnection, statement: str = "") -> DatabaseUnreachable:
    driver = None if conn.invalidated else (await conn.get_raw_connection()).driver_connection
    return wire.unanswered(driver, statement)
