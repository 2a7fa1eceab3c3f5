"""Which reads a replica may answer: those that it is there for and has come far enough for."""

import asyncio
import logging
import time
from contextvars import Context
from typing import Any
from weakref import WeakSet

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ..fast.checkout import Checkout
from ..fast.lease import PoolLease
from .faults import fault_of, unreachable
from .position import PATIENCE, Position, lsn_of, replayed, written

logger = logging.getLogger(__name__)

#: Seconds between two attempts to find a replica back that could not be used.
PAUSE = 1.0
#: Seconds between two questions to the primary, for all who want to know what exists.
INTERVAL = 0.02
#: Seconds that a read waits for what its client has seen to be replayed, before it goes elsewhere.
LONGEST_WAIT = 0.1
#: The first pause between two questions, in seconds; each is twice as long as the one before.
FIRST_PAUSE = 0.002
#: From this version on a server can wait itself.
WAITS_ITSELF = 19
#: What goes wrong with a server and its connections.
_FAILURES = (
    *(OSError, DBAPIError),
    *(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError),
)


class Replica:
    """The pool of a replica, and what is known of it; `primary` is asked what exists at all."""

    def __init__(self, checkout: Checkout, primary: Checkout) -> None:
        self.checkout = checkout
        self._primary = primary
        self._newest: Position | None = None  # that the primary is known to have reached
        self._asking = asyncio.Lock()
        self._asked_at = -INTERVAL
        self._is_answered = False
        self._is_away = False
        self._next_try = 0.0
        self._trial: asyncio.Task[None] | None = None
        self._has_standby = False
        self._standbys: WeakSet[asyncpg.Connection] = WeakSet()

    def reached(self, position: Position) -> None:
        """Note where the primary was."""
        self._newest = max(self._newest or position, position)

    async def lease(self, after: Position | None, **begin: Any) -> PoolLease | None:
        """A connection that has replayed what was written until `after`, or None: the primary.

        It waits for at most LONGEST_WAIT, and for no replica that is known to be away. A position
        that is not of this cluster, or that was never reached, asks for nothing. `begin` is for
        `PoolLease.begin`, where a transaction must be begun first. Raises
        sqlalchemy.exc.TimeoutError when both pools are exhausted.
        """
        if self._is_away:
            self._try_in_background()
            return None
        if not self.checkout.has_free and self._primary.has_free:
            return None
        lease = PoolLease(self.checkout)
        try:
            await lease.open()
            if not self._was_promoted(lease):
                if not lease.may_defer_begin:
                    await lease.begin(**begin)
                if after is None or await self._is_past(after, lease.driver):
                    return lease
        except PoolTimeoutError:
            if not self._primary.has_free:
                raise
        except _FAILURES as error:
            lease.close_at_end()
            self.failed(error)
        except BaseException:
            lease.close_at_end()
            await lease.rollback()
            raise
        await lease.rollback()
        return None

    async def _is_past(self, after: Position, driver: asyncpg.Connection) -> bool:
        now = await replayed(driver)
        if now is None:  # no standby: the primary itself, or one that became a primary
            now = await written(driver)
            return now.cluster != after.cluster or (
                now.timeline == after.timeline and now.place >= after.place
            )
        if _has(now, after) or now.cluster != after.cluster:
            return True
        if not await self._exists(after):
            return True
        return await self._replays(after, driver)

    async def _exists(self, position: Position) -> bool:
        """Whether the primary has come there; True when it cannot be asked.

        Anybody can make up a position, so one question is for all who came before it was asked, and
        the next one is INTERVAL later.
        """
        came = time.monotonic()
        if self._newest is not None and position <= self._newest:
            return True
        async with self._asking:
            if self._asked_at < came:
                await asyncio.sleep(self._asked_at + INTERVAL - time.monotonic())
                self._asked_at = time.monotonic()
                self._is_answered = await self._ask()
        return not self._is_answered or (self._newest is not None and position <= self._newest)

    async def _ask(self) -> bool:
        """Ask the primary where it is; whether it has told."""
        if not self._primary.has_free:
            return False
        lease = PoolLease(self._primary)
        try:
            async with asyncio.timeout(PATIENCE):
                await lease.open()
                self.reached(await written(lease.driver))
        except (*_FAILURES, PoolTimeoutError):
            lease.close_at_end()
            return False
        finally:
            await lease.rollback()
        return True

    async def _replays(self, after: Position, driver: asyncpg.Connection) -> bool:
        """Wait; whether it is replayed by then."""
        end, pause = time.monotonic() + LONGEST_WAIT, FIRST_PAUSE
        if driver.get_server_version().major >= WAITS_ITSELF and not driver.is_in_transaction():
            milliseconds = round(LONGEST_WAIT * 1000)
            options = f"WITH (TIMEOUT '{milliseconds}ms', NO_THROW)"
            try:
                await driver.execute(f"WAIT FOR LSN '{lsn_of(after)}' {options}")
                end = time.monotonic()
            except asyncpg.PostgresSyntaxError:
                pass  # it is asked again and again instead
        while True:
            now = await replayed(driver)
            if now is not None and _has(now, after):
                return True
            if time.monotonic() >= end:
                return False
            await asyncio.sleep(min(pause, max(0.0, end - time.monotonic())))
            pause *= 2

    def _was_promoted(self, lease: PoolLease) -> bool:
        """Whether there is no standby any more where one was.

        PostgreSQL tells the change with its next answer; PgBouncer does not pass it on. A server
        that never was one is the owner's choice.
        """
        driver = lease.driver
        state = getattr(driver.get_settings(), "in_hot_standby", None)
        if state == "on":
            self._has_standby = True
            self._standbys.add(driver)
        elif driver in self._standbys:
            lease.close_at_end()  # another one may lead to a standby
        return state == "off" and self._has_standby

    def _try_in_background(self) -> None:
        """Look whether it is back, one at a time and PAUSE after the last look at the earliest."""
        is_trying = self._trial is not None and not self._trial.done()
        if not is_trying and time.monotonic() >= self._next_try:
            # Whatever it logs has nothing to do with the request that comes by.
            self._trial = asyncio.create_task(self._try(), context=Context())

    async def _try(self) -> None:
        lease = PoolLease(self.checkout)
        try:
            await lease.open()
            if not self._was_promoted(lease):
                _ = await replayed(lease.driver)  # that a connection was idle proves nothing
                self._is_away = False
                logger.info("The replica is read again.")
        except PoolTimeoutError:
            pass  # those who have the connections will tell
        except _FAILURES as error:
            lease.close_at_end()
            self.failed(error)
        finally:
            self._next_try = time.monotonic() + PAUSE
            await lease.rollback()

    async def stop(self) -> None:
        """Look no longer whether it is back."""
        if self._trial is not None:
            self._trial.cancel()
            await asyncio.wait([self._trial])

    def failed(self, error: Exception) -> None:
        """Note an error of the replica; after one of an outage it is left alone for PAUSE."""
        fault = fault_of(error)
        is_lost = isinstance(error, TimeoutError | asyncpg.InternalClientError)
        is_outage = is_lost or (fault is not None and fault.is_outage)
        if not self._is_away:
            reason = unreachable(error, self.checkout.engine.url) or str(error)
            logger.warning("The replica could not be used; the primary is read. %s", reason)
        if is_outage:
            self._is_away, self._next_try = True, time.monotonic() + PAUSE
            self.checkout.forget_idle()


def _has(now: Position, after: Position) -> bool:
    """Whether a standby that is there has what was written until `after`.

    One of a later timeline has it if it was not lost. One of an earlier timeline may be on a branch
    of its own, whatever its place is.
    """
    return (
        now.cluster == after.cluster and now.timeline >= after.timeline and now.place >= after.place
    )
