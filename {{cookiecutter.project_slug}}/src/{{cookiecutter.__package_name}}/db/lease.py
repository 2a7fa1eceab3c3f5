"""How a transaction gets its connection, begins, ends and gives the connection back."""

from typing import NoReturn, Protocol

import anyio
import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction

from . import wire
from .errors import DatabaseUnreachable

#: Seconds a ROLLBACK may take before the connection is thrown away instead.
ROLLBACK_TIMEOUT = 5.0


class Lease(Protocol):
    """One connection for the time of one transaction."""

    async def open(self) -> AsyncConnection:
        """Take a connection; no transaction is begun."""

    async def begin(self, *, isolation: str | None, readonly: bool) -> None:
        """Begin the transaction."""

    async def commit(self) -> None:
        """Commit and give the connection back, whatever happens."""

    async def rollback(self) -> None:
        """Roll back and give the connection back, whatever happens."""


class OwnedConnection(AsyncConnection):
    """A connection whose transaction ends with the TransactionManager that took it."""

    async def commit(self) -> NoReturn:
        """Refused: raises RuntimeError."""
        raise RuntimeError("commit() on a connection of a transaction: that ends by itself.")

    async def rollback(self) -> NoReturn:
        """Refused: raises RuntimeError."""
        raise RuntimeError(
            "rollback() on a connection of a transaction: raise, or use savepoint()."
        )

    async def close(self) -> NoReturn:
        """Refused: raises RuntimeError."""
        raise RuntimeError("close() on a connection of a transaction: that gives it back.")


class PoolLease:
    """A connection of the pool with a transaction of its own."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._conn = OwnedConnection(engine)
        self._root: AsyncTransaction | None = None
        self._driver: asyncpg.Connection
        self._unknown = False  # a COMMIT or ROLLBACK was cut off: the session's state is not known

    async def open(self) -> AsyncConnection:
        """Take a connection of the pool.

        Raises DatabaseUnreachable, sqlalchemy.exc.TimeoutError when the pool is exhausted, and
        DBAPIError when the server refuses.
        """
        try:
            _ = await self._conn.start()
        except OSError as error:
            raise DatabaseUnreachable(f"The database cannot be reached: {error}") from error
        self._driver = await wire.defer_begin(self._conn)
        self._root = await self._conn.begin()
        return self._conn

    async def begin(self, *, isolation: str | None, readonly: bool) -> None:
        """Send BEGIN; raises DatabaseUnreachable when the connection was lost meanwhile."""
        try:
            await wire.begin(self._conn, isolation=isolation, readonly=readonly)
        except asyncpg.InterfaceError as error:  # as asyncpg has it: SQLAlchemy does not send BEGIN
            if not self._driver.is_closed():
                raise
            raise DatabaseUnreachable("The connection to the database was lost.") from error

    async def commit(self) -> None:
        """Send COMMIT; raises AbortedTransaction when an earlier error was swallowed."""
        try:
            await self._end(commit=True)
        finally:
            await self._give_back()

    async def rollback(self) -> None:
        """Send ROLLBACK; a connection that cannot be rolled back is closed."""
        try:
            with anyio.move_on_after(ROLLBACK_TIMEOUT, shield=True):
                await self._end(commit=False)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it is closed
            self._unknown = True
        finally:
            await self._give_back()

    async def _end(self, *, commit: bool) -> None:
        root, self._root = self._root, None
        if root is None:
            return
        self._unknown = True
        try:
            with anyio.CancelScope(shield=commit):
                await (root.commit() if commit else root.rollback())
        except Exception:
            self._unknown = self._driver.is_closed() or self._driver.is_in_transaction()
            raise
        self._unknown = False

    async def _give_back(self) -> None:
        if self._conn.sync_connection is None:
            return
        with anyio.CancelScope(shield=True):
            if self._unknown and not self._conn.closed:
                await self._conn.invalidate()
            await AsyncConnection.close(self._conn)
