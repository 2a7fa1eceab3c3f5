"""How a transaction gets its connection, begins, ends and gives the connection back."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, NoReturn, Protocol
from weakref import WeakMethod

import anyio
import asyncpg
from sqlalchemy import Connection
from sqlalchemy.engine import RootTransaction
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.util import greenlet_spawn

from ..errors import LOST, AbortedTransaction, DatabaseUnreachable, is_goodbye
from . import wire
from .checkout import Checkout

#: What may be asked on a connection when its transaction was committed.
Then = Callable[[asyncpg.Connection], Awaitable[object]]
#: Seconds a ROLLBACK may take before the connection is thrown away instead.
ROLLBACK_TIMEOUT = 5.0


class Lease(Protocol):
    """One connection for the time of one transaction; PoolLease says what its members do."""

    may_defer_begin: bool

    @property
    def driver(self) -> asyncpg.Connection: ...
    @property
    def sender(self) -> asyncpg.Connection: ...
    async def open(self) -> None: ...
    async def begin(
        self, *, isolation: str | None, readonly: bool, context: Mapping[str, str] = {}
    ) -> None: ...
    async def connection(self) -> AsyncConnection: ...
    def as_sqlalchemys(self, error: Exception, statement: str) -> Exception: ...
    def close_at_end(self) -> None: ...
    async def commit(self, then: Then | None = None) -> None: ...
    async def rollback(self) -> None: ...


class OwnedConnection(AsyncConnection):
    """A connection whose transaction ends with the TransactionManager that took it."""

    async def commit(self) -> NoReturn:
        """Refused: raises RuntimeError."""
        _refuse("commit", "that ends by itself")

    async def rollback(self) -> NoReturn:
        """Refused: raises RuntimeError."""
        _refuse("rollback", "raise, or use savepoint()")

    async def close(self) -> NoReturn:
        """Refused: raises RuntimeError."""
        _refuse("close", "that gives it back")


def _refuse(method: str, instead: str) -> NoReturn:
    raise RuntimeError(f"{method}() on a connection of a transaction: {instead}.")


class LeasedConnection(Connection):
    """SQLAlchemy's part of it: nobody waits for ever for what is sent this way, either.

    Private to SQLAlchemy: `_handle_dbapi_exception`, which all errors pass.
    """

    #: Is told of each error of the database. It does not live on for that.
    on_error: WeakMethod[Callable[[Exception], None]] | None = None

    def _handle_dbapi_exception(
        self,
        e: BaseException,
        statement: Any,
        parameters: Any,
        cursor: Any,
        *more: Any,
        **named: Any,
    ) -> NoReturn:
        """Raise what SQLAlchemy does, DatabaseUnreachable for a statement without an answer."""
        try:
            if isinstance(e, TimeoutError) and cursor is not None:
                raise wire.unanswered(self.connection.driver_connection, statement or "") from e
            super()._handle_dbapi_exception(e, statement, parameters, cursor, *more, **named)
        except (DBAPIError, DatabaseUnreachable) as error:
            if self.on_error is not None and (tell := self.on_error()) is not None:
                tell(error)
            raise


def _hears_begin(connection: Any) -> bool:
    return bool(connection.dispatch.begin)


class PoolLease:
    """A connection of the pool with a transaction of its own."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout
        self._engine = checkout.engine
        self._taken: Any = None  # ManagesConnection, while there is one
        self._begun: wire.Begun | None = None
        self._conn: OwnedConnection | None = None
        self._root: RootTransaction | None = None
        self._unknown = False  # BEGIN, COMMIT or ROLLBACK was cut off: in what state, nobody knows
        self._is_to_close = False
        self._options = checkout.engine.sync_engine.get_execution_options()
        #: Whether a plain read may run before `begin`.
        self.may_defer_begin = not self._options.get(wire.ALWAYS_BEGIN)

    async def open(self) -> None:
        """Take a connection, no transaction begun. Raises what `Checkout.take` does."""
        self._taken = await self._checkout.take()
        self.driver: asyncpg.Connection = self._taken.driver_connection
        #: The same, by way of those who trace statements.
        self.sender = self.driver
        for traced in self._options.get(wire.TRACERS, ()):
            self.sender = traced(self.sender)

    async def begin(
        self,
        *,
        isolation: str | None,
        readonly: bool,
        context: Mapping[str, str] = {},
        then: str = "",
    ) -> None:
        """Send BEGIN, and along with it `then` and what sets a `wire.checked_context`.

        Raises DatabaseUnreachable when the connection was lost while it was idle or does not
        answer, and otherwise what SQLAlchemy would raise.
        """
        statement = wire.begin_statement(isolation, readonly)
        parts = (self._options.get(wire.AFTER_BEGIN), then, wire.context_statement(context))
        after = "; ".join(filter(None, parts))
        self._unknown = True
        try:
            self._begun = await wire.begin(self._taken, self.sender, statement, after)
        except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise DatabaseUnreachable(LOST) from error  # nothing else can be wrong with BEGIN
        except (asyncpg.PostgresError, TimeoutError) as error:
            raise self.as_sqlalchemys(error, statement) from error
        self._unknown = False

    async def connection(self) -> AsyncConnection:
        """SQLAlchemy's connection; its transaction is the one that was begun."""
        if self._taken is None:
            raise RuntimeError("The transaction has ended while a task was waiting for it.")
        if self._conn is None:
            self._taken = self._checkout.proxy(self._taken)
            sync = LeasedConnection(self._engine.sync_engine, connection=self._taken)
            self._conn = OwnedConnection(self._engine, sync)
            # A greenlet costs more than this, which sends nothing by itself.
            self._root = await greenlet_spawn(sync.begin) if _hears_begin(sync) else sync.begin()
        return self._conn

    def as_sqlalchemys(self, error: Exception, statement: str) -> Exception:
        """The error that SQLAlchemy would have raised for this one of asyncpg's.

        DatabaseUnreachable when there was no answer in time, with the connection terminated, and
        when the server ends the connection. The same error when it was given up meanwhile.
        """
        if self._taken is None:
            return error
        if isinstance(error, TimeoutError):
            self._unknown = True
            unanswered = wire.unanswered(self.driver, statement)
            unanswered.__cause__ = error
            return unanswered
        if is_goodbye(error):
            self._unknown = True
            lost = DatabaseUnreachable(LOST)
            lost.__cause__ = error
            return lost
        return wire.as_sqlalchemys(error, self._taken, self._engine.dialect, statement)

    def close_at_end(self) -> None:
        """Have the connection closed at the end instead of given back."""
        self._is_to_close = True

    async def commit(self, then: Then | None = None) -> None:
        """Send COMMIT; raises AbortedTransaction when an earlier error was swallowed.

        `then` is asked on the same connection. What it raises closes that and nothing else: the
        transaction was committed.
        """
        try:
            if self._begun is not None:
                await self._end(self._begun, commit=True)
                if then is not None:
                    await self._ask(then)
        finally:
            self._give_back()

    async def rollback(self) -> None:
        """Send ROLLBACK; a connection that cannot be rolled back is closed."""
        try:
            if self._begun is not None:
                with anyio.move_on_after(ROLLBACK_TIMEOUT, shield=True):
                    await self._end(self._begun, commit=False)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it is closed
            self._unknown = True
        finally:
            self._give_back()

    async def _ask(self, then: Then) -> None:
        self._unknown = True
        with suppress(Exception):  # whatever it is, the client must hear of the COMMIT
            await then(self.driver)
            self._unknown = False

    async def _end(self, begun: wire.Begun, *, commit: bool) -> None:
        self._begun, self._unknown = None, True
        try:
            if (root := self._root) is not None:
                await greenlet_spawn(root.commit if commit else root.rollback)
            else:
                await (begun.commit() if commit else begun.rollback())
        except Exception as error:
            self._unknown = self.driver.is_closed() or self.driver.is_in_transaction()
            is_raised_as_it_is = self._root is not None and not isinstance(error, TimeoutError)
            if is_raised_as_it_is or isinstance(error, AbortedTransaction):
                raise
            raise self.as_sqlalchemys(error, "COMMIT" if commit else "ROLLBACK") from error
        self._unknown = False

    def _give_back(self) -> None:
        taken, self._taken = self._taken, None
        if taken is None:
            return
        try:
            if self._unknown or self._is_to_close or taken.dbapi_connection is None:
                self._checkout.discard(taken)
            else:
                wire.has_ended(taken)
                self._checkout.put_back(taken)
        finally:
            if self._conn is not None and self._conn.sync_connection is not None:
                self._conn.sync_connection.close()  # whoever has kept it finds it closed
