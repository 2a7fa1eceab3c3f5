"""Takes connections out of SQLAlchemy's pool and puts them back."""

import asyncio
from typing import Any

from sqlalchemy import PoolProxiedConnection, QueuePool
from sqlalchemy.exc import DBAPIError, MissingGreenlet
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from .errors import DatabaseUnreachable


class Checkout:
    """The pool of one engine, without SQLAlchemy's greenlet where no I/O is due.

    Whoever finds all connections taken waits here, first come, first served.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._places = _places(self._pool)

    @property
    def _pool(self) -> Any:
        return self.engine.sync_engine.pool  # dispose() puts another one in its place

    async def take(self) -> PoolProxiedConnection:
        """A connection of the pool, outside of a transaction; `put_back` or `discard` it.

        It waits as long as the pool's timeout, and as long again in SQLAlchemy's queue when the
        connections that are missing are those of somebody who uses the engine itself.
        Raises DatabaseUnreachable, sqlalchemy.exc.TimeoutError when the pool is exhausted, and
        DBAPIError when the server refuses.
        """
        await self._wait_for_place()
        try:
            return await self._connection()
        except BaseException:
            self._leave()
            raise

    def put_back(self, proxy: PoolProxiedConnection) -> None:
        """Let the next one have this connection; no transaction may be open on it."""
        try:
            proxy.close()
        finally:
            self._leave()

    def discard(self, proxy: PoolProxiedConnection) -> None:
        """Close this connection, whatever state it is in; the pool makes another when needed."""
        if proxy.is_valid:
            proxy.invalidate()
        self.put_back(proxy)

    async def _connection(self) -> PoolProxiedConnection:
        engine = self.engine
        pool = self._pool
        if isinstance(pool, QueuePool) and pool.checkedin() and not pool._pre_ping:
            try:
                return engine.sync_engine.raw_connection()
            except MissingGreenlet:
                pass  # it has to be connected anew, which is I/O
        try:
            return await engine.raw_connection()
        except OSError as error:
            raise DatabaseUnreachable(f"The database cannot be reached: {error}") from error
        except engine.dialect.loaded_dbapi.Error as error:
            raise DBAPIError.instance(
                None, None, error, engine.dialect.loaded_dbapi.Error, dialect=engine.dialect
            ) from error

    async def _wait_for_place(self) -> None:
        places = self._places
        if places is None:
            return
        if not places.locked():
            await places.acquire()
            return
        seconds = self._pool.timeout()
        try:
            async with asyncio.timeout(seconds):
                await places.acquire()
        except TimeoutError:
            message = f"No connection of {_most(self._pool)} became free in {seconds} seconds."
            raise PoolTimeoutError(message) from None

    def _leave(self) -> None:
        if self._places is not None:
            self._places.release()


def _places(pool: object) -> asyncio.Semaphore | None:
    """One for each connection that the pool may have; None when it has no limit."""
    if not isinstance(pool, QueuePool) or pool._max_overflow < 0:
        return None
    return asyncio.Semaphore(_most(pool))


def _most(pool: QueuePool) -> int:
    return pool.size() + pool._max_overflow
