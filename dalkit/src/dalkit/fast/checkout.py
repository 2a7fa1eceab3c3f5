"""Takes connections out of SQLAlchemy's pool and puts them back.

SQLAlchemy hands a connection out behind a proxy with a finalizer, and making that costs several
times what the rest of a checkout does. Here the pool's own entry for the connection is used, and a
proxy is made when SQLAlchemy's connection is asked for.

Private to SQLAlchemy and used here: `_do_get`, `get_connection`, `checkin`, `fairy_ref`,
`_ConnectionRecord` and `_ConnectionFairy` with its `_counter` for that, `_pre_ping`,
`_max_overflow` and `_invalidate_time` of the pool.
tests/fast/test_checkout.py is the contract; pyproject.toml bounds the version.
"""

import asyncio
import math
import time
import weakref
from typing import Any, cast

import asyncpg
from sqlalchemy import PoolProxiedConnection, QueuePool, event
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, MissingGreenlet
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry, ManagesConnection, NullPool
from sqlalchemy.pool.base import _ConnectionFairy, _ConnectionRecord

from ..errors import DatabaseUnreachable

#: The part of the pool's timeout that whoever comes waits at most, while the pool is overloaded.
PART_IN_OVERLOAD = 0.1


class Checkout:
    """The pool of one engine, without SQLAlchemy's greenlet where no I/O is due.

    Whoever finds all connections taken waits here, first come, first served. A queue that has not
    been empty for the pool's timeout is no burst: from then on the wait is short, until it is.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        pool = self._pool
        is_limited = isinstance(pool, QueuePool) and pool._max_overflow >= 0
        self._most = pool.size() + pool._max_overflow if is_limited else 0
        self._slots = asyncio.Semaphore(self._most) if is_limited else None
        self._waiting = 0
        self._queued_since: float | None = None  # the loop's time
        self._own_listeners = int(event.contains(engine.sync_engine, "checkout", refuse_closed))

    @property
    def _pool(self) -> Any:
        return self.engine.sync_engine.pool  # dispose() puts another one in its place

    @property
    def has_free(self) -> bool:
        """Whether `take` would not have to wait for others."""
        return self._slots is None or not self._slots.locked()

    def forget_idle(self) -> None:
        """Have all connections of before closed instead of taken again: their server was lost."""
        self._pool._invalidate_time = time.time()

    async def take(self) -> ManagesConnection:
        """A connection of the pool, outside of a transaction; `put_back` or `discard` it.

        It waits as long as the pool's timeout, PART_IN_OVERLOAD of it when that does not help, and
        as long as the timeout again in SQLAlchemy's queue when the connections that are missing
        are those of somebody who uses the engine itself.
        Raises DatabaseUnreachable, also when the server refuses, and sqlalchemy.exc.TimeoutError
        when the pool is exhausted.
        """
        if (slots := self._slots) is not None:
            if slots.locked():
                await self._wait_for(slots)
            else:
                self._queued_since = None
                await slots.acquire()
        try:
            return self._idle() or await self._proxied()
        except BaseException:
            self._leave()
            raise

    def proxy(self, taken: ManagesConnection) -> PoolProxiedConnection:
        """What SQLAlchemy's connection needs in place of what was taken."""
        if not isinstance(taken, _ConnectionRecord):
            return cast(PoolProxiedConnection, taken)
        entry: Any = taken
        proxy = _ConnectionFairy(self._pool, entry.dbapi_connection, entry, None)
        proxy._counter = 1
        entry.fairy_ref = weakref.ref(proxy, lambda _: None)  # SQLAlchemy #13738 on the callback
        return proxy

    def put_back(self, taken: ManagesConnection) -> None:
        """Let the next one have this connection; no transaction may be open on it."""
        pool = self._pool
        if isinstance(pool, QueuePool):
            is_enough = pool._max_overflow > 0 and pool.checkedin() >= pool.size()
        else:
            is_enough = isinstance(pool, NullPool)
        self._return(taken, close=is_enough)  # what the pool would close itself, with I/O

    def discard(self, taken: ManagesConnection) -> None:
        """Close this connection, whatever state it is in; the pool makes another when needed."""
        self._return(taken, close=True)

    def _return(self, taken: ManagesConnection, *, close: bool) -> None:
        try:
            if close and taken.dbapi_connection is not None:
                taken.invalidate()  # closes the socket; saying goodbye to the server would be I/O
        finally:
            try:
                _check_in(taken)
            finally:
                self._leave()

    def _idle(self) -> ManagesConnection | None:
        """The entry of a connection that is there and open; None when that takes I/O or a proxy."""
        pool = self._pool
        if not isinstance(pool, QueuePool) or not pool.checkedin():
            return None
        # Whether somebody wants to know of all connections that leave the pool or return.
        events: Any = pool.dispatch
        is_watched = len(events.checkout) > self._own_listeners or events.reset or pool.echo
        if is_watched or pool._pre_ping:
            return None
        entry: Any = pool._do_get()
        try:
            if entry.dbapi_connection is not None:
                entry.get_connection()
                if not entry.driver_connection.is_closed():
                    return entry  # type: ignore[no-any-return]
                entry.invalidate()
        except MissingGreenlet:
            pass  # the pool wants it to be replaced
        except BaseException:
            _check_in(entry)
            raise
        _check_in(entry)  # to be connected anew
        return None

    async def _proxied(self) -> PoolProxiedConnection:
        """A connection as SQLAlchemy hands it out, made when there is none."""
        dialect = self.engine.dialect
        base = dialect.loaded_dbapi.Error
        try:
            return await self.engine.raw_connection()
        except OSError as error:
            raise DatabaseUnreachable(f"The database cannot be reached: {error}") from error
        except base as error:
            if isinstance(error.__cause__, asyncpg.TargetServerAttributeNotMatched):
                # None of several hosts is a primary at the moment, as in a failover.
                raise DatabaseUnreachable(f"No host is the one asked for: {error}") from error
            refusal = DBAPIError.instance(None, None, error, base, dialect=dialect)
            raise DatabaseUnreachable(f"The database refuses the connection: {error}") from refusal

    async def _wait_for(self, slots: asyncio.Semaphore) -> None:
        seconds = self._patience()
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds):
                await slots.acquire()
        except TimeoutError:
            self._queued_since = -math.inf
            message = f"No connection of {self._most} became free in {seconds:g} seconds."
            raise PoolTimeoutError(message) from None
        finally:
            self._waiting -= 1
            if not self._waiting and self._queued_since != -math.inf:
                self._queued_since = None  # nobody waits, and nobody has waited in vain
        if not self._waiting:  # served, and not given up: that ends an overload
            self._queued_since = None

    def _patience(self) -> float:
        """Seconds that the next one waits."""
        timeout: float = self._pool.timeout()
        now = asyncio.get_running_loop().time()
        if self._queued_since is None:
            self._queued_since = now
        is_overloaded = now - self._queued_since >= timeout
        return timeout * PART_IN_OVERLOAD if is_overloaded else timeout

    def _leave(self) -> None:
        if self._slots is not None:
            self._slots.release()


def refuse_closed(adapter: Any, entry: ConnectionPoolEntry, proxy: object) -> None:
    """Let the pool connect anew when the server has closed this connection; asks the socket only.

    A listener for those who use the engine itself: `Checkout` looks at each connection it takes.
    The others of the pool are connected anew, too: a server that restarts closes all.
    """
    if entry.driver_connection is not None and entry.driver_connection.is_closed():
        raise InvalidatePoolError


def _check_in(taken: Any) -> None:
    if isinstance(taken, _ConnectionRecord):  # of the interfaces, Python would ask their metaclass
        taken.checkin(_fairy_was_created=False)
    else:
        taken.close()
