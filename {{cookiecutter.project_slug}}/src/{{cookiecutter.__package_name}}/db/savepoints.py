"""Transactions as savepoints of one outer transaction, so that a test leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

from . import wire
from .errors import AbortedTransaction
from .lease import PoolLease
from .transaction import TransactionManager

if TYPE_CHECKING:
    from .dal import DataAccessLayer


class OuterTransaction(TransactionManager):
    """The transaction that a test runs in; nothing that it commits outlives it."""

    def __init__(self, conn: AsyncConnection, dal: "DataAccessLayer") -> None:
        super().__init__(conn, dal)
        self._names = count(1)
        self._turn = asyncio.Lock()
        self._turn_of: asyncio.Task[object] | None = None
        self._depth = 0

    async def start(self) -> None:
        """Set the savepoint that `rollback` goes back to."""
        await self.driver_execute("SAVEPOINT outer_mark")

    async def commit(self) -> None:
        """Check deferred constraints and keep what was done until now, also from `rollback`."""
        await check_deferred(self)
        await self.driver_execute("RELEASE SAVEPOINT outer_mark; SAVEPOINT outer_mark")

    async def rollback(self) -> None:
        """Undo what was done since the last `commit`."""
        await self.driver_execute("ROLLBACK TO SAVEPOINT outer_mark")

    async def driver_execute(self, sql: str) -> None:
        """Send statements that take no parameters, in one round trip."""
        driver: asyncpg.Connection = await self.get_dbapi_connection()
        await driver.execute(sql)

    async def enter(self) -> str:
        """Wait for the turn of this task and set a savepoint; return its name."""
        task = asyncio.current_task()
        if self._turn_of is not task:
            await self._turn.acquire()
            self._turn_of = task
        self._depth += 1
        name = f"joined_{next(self._names)}"
        try:
            await self.driver_execute(f"SAVEPOINT {name}")
        except BaseException:
            self.leave()
            raise
        return name

    def leave(self) -> None:
        """Let the next task have its turn."""
        self._depth -= 1
        if not self._depth:
            self._turn_of = None
            self._turn.release()


class SavepointLease:
    """A savepoint of the outer transaction where a request would have a transaction of its own.

    The isolation level is the outer transaction's. Tasks take turns; a transaction opened while
    the same task has one open is nested in it.
    """

    def __init__(self, outer: OuterTransaction) -> None:
        self._outer = outer
        self._name = ""

    async def open(self) -> AsyncConnection:
        """Set the savepoint."""
        self._name = await self._outer.enter()
        return self._outer.conn

    async def begin(self, *, isolation: str | None, readonly: bool) -> None:
        """Make the savepoint read only when asked to; PostgreSQL ends that with the savepoint."""
        wire.begin_statement(isolation, readonly)
        if readonly:
            await self._outer.driver_execute("SET TRANSACTION READ ONLY")

    async def commit(self) -> None:
        """Check deferred constraints as COMMIT would, then release the savepoint."""
        try:
            await check_deferred(self._outer)
            await self._outer.driver_execute(f"RELEASE SAVEPOINT {self._name}")
        except BaseException:
            await self._undo()
            raise
        finally:
            self._outer.leave()

    async def rollback(self) -> None:
        """Go back to the savepoint."""
        try:
            await self._undo()
        finally:
            self._outer.leave()

    async def _undo(self) -> None:
        name = self._name
        await self._outer.driver_execute(f"ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}")


async def check_deferred(outer: OuterTransaction) -> None:
    """Raise the violation that COMMIT would raise; leave the constraints' modes as they were.

    SET CONSTRAINTS lasts until the end of the transaction, unless a savepoint takes it back.
    """
    try:
        await (await outer.connection()).exec_driver_sql("SAVEPOINT check_deferred")
        await (await outer.connection()).exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
    except Exception as error:
        if getattr(getattr(error, "orig", None), "sqlstate", None) == "25P02":
            raise AbortedTransaction from error
        raise
    await outer.driver_execute(
        "ROLLBACK TO SAVEPOINT check_deferred; RELEASE SAVEPOINT check_deferred"
    )


@asynccontextmanager
async def rolled_back(dal: "DataAccessLayer") -> AsyncIterator[OuterTransaction]:
    """Run every transaction of `dal` inside one that is rolled back at the end, and yield that one.

    Raises, at the end, the violation of a deferred constraint that COMMIT would have raised.
    """
    lease = PoolLease(dal.engine)
    conn = await lease.open()
    try:
        await lease.begin(isolation=None, readonly=False)
        outer = OuterTransaction(conn, dal)
        await outer.start()
        with dal.leasing(lambda readonly: SavepointLease(outer)):
            yield outer
        with suppress(AbortedTransaction):
            await check_deferred(outer)
    finally:
        await lease.rollback()
