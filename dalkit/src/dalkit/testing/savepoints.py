"""Transactions as savepoints of one outer transaction, so that a test leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

from ..data.transaction import TransactionManager
from ..errors import AbortedTransaction
from ..fast import wire
from ..fast.checkout import Checkout
from ..fast.lease import PoolLease, Then

if TYPE_CHECKING:
    from ..data.dal import DataAccessLayer

#: Raises the violation that COMMIT would raise, and leaves the constraints' modes as they were:
#: SET CONSTRAINTS lasts until the end of the transaction, unless a savepoint takes it back.
CHECK_DEFERRED = (
    "SAVEPOINT check_deferred; SET CONSTRAINTS ALL IMMEDIATE; "
    "ROLLBACK TO SAVEPOINT check_deferred; RELEASE SAVEPOINT check_deferred"
)

#: What `OuterTransaction.rollback` goes back to.
MARK = "SAVEPOINT outer_mark"


class OuterTransaction(TransactionManager):
    """The transaction that a test runs in; nothing that it commits outlives it."""

    def __init__(self, lease: PoolLease, conn: AsyncConnection, dal: "DataAccessLayer") -> None:
        super().__init__(conn, dal)
        self.lease = lease
        self._turn = asyncio.Lock()
        self._turn_of: asyncio.Task[object] | None = None
        self._depth = 0
        #: What is set by the contexts of transactions. PostgreSQL keeps it beyond a savepoint.
        self.context: dict[str, str] = {}

    async def _commit(self, over: str = "") -> None:
        """Check deferred constraints and keep what was done until now, also from `rollback`."""
        await self.send(CHECK_DEFERRED, "RELEASE SAVEPOINT outer_mark", MARK)

    async def _rollback(self) -> None:
        """Undo what was done since the last `commit`."""
        await self.send("ROLLBACK TO SAVEPOINT outer_mark")

    async def leave_session(self) -> None:
        """Let its session go; objects keep their values."""
        await self._undo_session(for_good=True)

    async def send(self, *statements: str) -> None:
        """Send statements that take no parameters, in one round trip.

        Raises what COMMIT would raise: AbortedTransaction when an earlier error was swallowed.
        """
        sql = "; ".join(statements)
        try:
            await self.lease.driver.execute(sql)
        except asyncpg.InFailedSQLTransactionError as error:
            raise AbortedTransaction from error
        except asyncpg.PostgresError as error:
            known = self.lease.as_sqlalchemys(error, sql)
            raise known from known.__cause__

    async def enter(self) -> str:
        """Wait for the turn of this task and set a savepoint; return its name."""
        await self._flush()
        task = asyncio.current_task()
        if self._turn_of is not task:
            await self._turn.acquire()
            self._turn_of = task
        self._depth += 1
        name = f"joined_{self._depth}"
        try:
            await self.send(f"SAVEPOINT {name}")
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


class _SavepointLease:
    """A savepoint of the outer transaction where a request would have a transaction of its own.

    The isolation level is the outer transaction's. Tasks take turns; a transaction opened while
    the same task has one open is nested in it.
    """

    may_defer_begin = True

    def __init__(self, outer: OuterTransaction) -> None:
        self._outer = outer
        self._name = ""
        self._may_have_written = False
        self._context_before = outer.context
        self.driver, self.sender = outer.lease.driver, outer.lease.sender
        self.as_sqlalchemys = outer.lease.as_sqlalchemys

    async def open(self) -> None:
        self._name = await self._outer.enter()
        self._context_before = self._outer.context
        self.may_defer_begin = not self._context_before

    async def begin(
        self, *, isolation: str | None, readonly: bool, context: Mapping[str, str] = {}
    ) -> None:
        wire.begin_statement(isolation, readonly)
        self._may_have_written = not readonly
        read_only = "SET TRANSACTION READ ONLY" if readonly else ""  # until the savepoint ends
        changed = {**dict.fromkeys(self._outer.context, ""), **context}
        if statements := [*filter(None, (read_only, wire.context_statement(changed)))]:
            await self._outer.send(*statements)
        self._outer.context = changed

    async def connection(self) -> AsyncConnection:
        return self._outer.conn

    def close_at_end(self) -> None:
        """Nothing: the connection is the test's."""

    async def commit(self, then: Then | None = None) -> None:
        before = self._context_before
        restored = wire.context_statement(dict.fromkeys(self._outer.context, "") | before)
        check = CHECK_DEFERRED if self._may_have_written else ""  # of a read, COMMIT checks nothing
        ending = (check, restored, f"RELEASE SAVEPOINT {self._name}")
        try:
            await self._outer.send(*filter(None, ending))
            self._outer.context = before
        except BaseException:
            await self._undo()
            raise
        finally:
            self._outer.leave()

    async def rollback(self) -> None:
        try:
            await self._undo()
        finally:
            self._outer.leave()

    async def _undo(self) -> None:
        name, self._outer.context = self._name, self._context_before
        await self._outer.send(f"ROLLBACK TO SAVEPOINT {name}", f"RELEASE SAVEPOINT {name}")


@asynccontextmanager
async def rolled_back(dal: "DataAccessLayer") -> AsyncIterator[OuterTransaction]:
    """Run every transaction of `dal` inside one that is rolled back at the end, and yield that one.

    Raises, at the end, the violation of a deferred constraint that COMMIT would have raised.
    """
    lease = PoolLease(Checkout(dal.engine))
    await lease.open()
    try:
        await lease.begin(isolation=None, readonly=False, then=MARK)
        outer = OuterTransaction(lease, await lease.connection(), dal)
        with dal.leasing(lambda readonly: _SavepointLease(outer)):
            yield outer
        with suppress(AbortedTransaction):
            await outer.send("SET CONSTRAINTS ALL IMMEDIATE")  # what COMMIT would raise
    finally:
        await outer.leave_session()
        await lease.rollback()
