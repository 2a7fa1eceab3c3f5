"""Takes connections out of SQLAlchemy's pool and puts them back.

SQLAlchemy hands a connection out behind a proxy with a finalizer, and making that costs several
times what the rest of a checkout does. Here the pool's own entry for the connection is used, and a
proxy is made when SQLAlchemy's connection is asked for.

Private to SQLAlchemy and used here: `_do_get`, `get_connection`, `checkin`, `_checkin_failed`,
`fairy_ref` and `_ConnectionFairy` for that, `_pre_ping` and `_max_overflow` of the pool.
tests/db/test_checkout.py is the contract; pyproject.toml bounds the version.
"""

import asyncio
import weakref
from typing import Any

from sqlalchemy import PoolProxiedConnection, QueuePool, event
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, MissingGreenlet
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry, ManagesConnection
from sqlalchemy.pool.base import _ConnectionFairy

from .errors import DatabaseUnreachable


class Checkout:
    """The pool of one engine, without SQLAlchemy's greenlet where no I/O is due.

    Whoever finds all connections taken waits here, first come, first served.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._places = _places(self._pool)
        self._own_listeners = int(event.contains(engine.sync_engine, "checkout", refuse_closed))

    @property
    def _pool(self) -> Any:
        return self.engine.sync_engine.pool  # dispose() puts another one in its place

    async def take(self) -> ManagesConnection:
        """A connection of the pool, outside of a transaction; `put_back` or `discard` it.

        It waits as long as the pool's timeout, and as long again in SQLAlchemy's queue when the
        connections that are missing are those of somebody who uses the engine itself.
        Raises DatabaseUnreachable, sqlalchemy.exc.TimeoutError when the pool is exhausted, and
        DBAPIError when the server refuses.
        """
        if (places := self._places) is not None:
            await (self._wait_for(places) if places.locked() else places.acquire())
        try:
            return self._idle() or await self._proxied()
        except BaseException:
            self._leave()
            raise

    def proxy(self, taken: ManagesConnection) -> PoolProxiedConnection:
        """What SQLAlchemy's connection needs in place of what was taken."""
        if isinstance(taken, PoolProxiedConnection):
            return taken
        entry: Any = taken
        proxy = _ConnectionFairy(self._pool, entry.dbapi_connection, entry, None)
        proxy._counter = 1
        entry.fairy_ref = weakref.ref(proxy)
        return proxy

    def put_back(self, taken: ManagesConnection) -> None:
        """Let the next one have this connection; no transaction may be open on it."""
        if taken.dbapi_connection is not None and not _keeps_another(self._pool):
            taken.invalidate()  # closing in the usual way would be I/O
        try:
            if isinstance(taken, PoolProxiedConnection):
                taken.close()
            else:
                _check_in(taken)
        finally:
            self._leave()

    def discard(self, taken: ManagesConnection) -> None:
        """Close this connection, whatever state it is in; the pool makes another when needed."""
        if taken.dbapi_connection is not None:
            taken.invalidate()
        self.put_back(taken)

    def _idle(self) -> ManagesConnection | None:
        """The entry of a connection that is there and open; None when that takes I/O or a proxy."""
        pool = self._pool
        if not isinstance(pool, QueuePool) or not pool.checkedin() or self._needs_proxy(pool):
            return None
        entry: Any = pool._do_get()
        try:
            entry.get_connection()
        except BaseException as error:
            entry._checkin_failed(error, _fairy_was_created=False)
            if isinstance(error, MissingGreenlet):  # it has to be connected anew
                return None
            raise
        if entry.driver_connection.is_closed():
            entry.invalidate()
            _check_in(entry)
            return None
        return entry  # type: ignore[no-any-return]

    def _needs_proxy(self, pool: Any) -> bool:
        """Whether somebody does something with all connections that leave the pool or return."""
        events = pool.dispatch
        return bool(len(events.checkout) > self._own_listeners or events.reset or pool._pre_ping)

    async def _proxied(self) -> PoolProxiedConnection:
        """A connection as SQLAlchemy hands it out, made when there is none."""
        engine = self.engine
        try:
            return await engine.raw_connection()
        except OSError as error:
            raise DatabaseUnreachable(f"The database cannot be reached: {error}") from error
        except engine.dialect.loaded_dbapi.Error as error:
            raise DBAPIError.instance(
                None, None, error, engine.dialect.loaded_dbapi.Error, dialect=engine.dialect
            ) from error

    async def _wait_for(self, places: asyncio.Semaphore) -> None:
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


def refuse_closed(adapter: Any, entry: ConnectionPoolEntry, proxy: object) -> None:
    """Let the pool connect anew when the server has closed this connection; asks the socket only.

    So after a restart of the server: the other connections of the pool are then closed as well.
    A listener for those who use the engine itself; `Checkout` looks without it.
    """
    if entry.driver_connection is not None and entry.driver_connection.is_closed():
        raise InvalidatePoolError


def _check_in(entry: Any) -> None:
    entry.checkin(_fairy_was_created=False)


def _keeps_another(pool: Any) -> bool:
    """Whether the pool keeps the next connection that comes back, or closes it."""
    return isinstance(pool, QueuePool) and not 0 < pool.size() <= pool.checkedin()


def _places(pool: object) -> asyncio.Semaphore | None:
    """One for each connection that the pool may have; None when it has no limit."""
    if not isinstance(pool, QueuePool) or pool._max_overflow < 0:
        return None
    return asyncio.Semaphore(_most(pool))


def _most(pool: QueuePool) -> int:
    return pool.size() + pool._max_overflow
