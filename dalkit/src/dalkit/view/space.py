"""What all parts of an open view share: its mode, its cache, its origin, and the work under way."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import driver_error
from .cache import Cache
from .cache_sql import Change
from .errors import CacheError, NotLive, OriginError
from .modes import FALLBACK, OFFLINE, PREFER_CACHE, Loaded, Mode, checked_mode
from .origin import Origin

if TYPE_CHECKING:
    from .rows import Rows
    from .view import View

log = logging.getLogger("dalkit.view")


class Space:
    """What all parts of an open view share."""

    def __init__(
        self,
        view: "View",
        origin: Origin | None,
        cache: Cache,
        mode: Mode,
        fresh_for: float | None,
        retry_after: float,
    ) -> None:
        self.view = view
        self.origin = origin
        self.cache = cache
        self.mode = mode
        self.fresh_for = fresh_for
        self.retry_after = retry_after
        self.is_live = False
        self.retry_at = 0.0  # until then the origin is not tried again
        self.outage: BaseException | None = None
        self.rows: dict[type, Rows[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_save: asyncio.Task[None] | None = None
        #: Reads the tables of the origin, unless that was done when the view opened.
        self.reach: Callable[[], Awaitable[Origin]]

    def check(self) -> None:
        """Raise NotLive unless the view is open."""
        if not self.is_live:
            raise NotLive("The view is not open: use it within its `async with`.")

    def checked(self, mode: Mode) -> Mode:
        """The mode of a call; raises TypeError when it is none, ValueError without an origin."""
        return checked_mode(mode, has_origin=self.origin is not None)

    def accepts(self, loaded: Loaded, mode: Mode) -> bool:
        """Whether what is known will do in this mode, or has to be asked for again."""
        if mode is PREFER_CACHE:
            return self.fresh_for is None or time.time() - loaded.at <= self.fresh_for
        if mode is OFFLINE or loaded.is_from_origin:
            return True
        return mode is FALLBACK and loaded.is_stale and time.monotonic() < self.retry_at

    @property
    def since(self) -> float:
        """The time from which on PREFER_CACHE takes what the cache has."""
        return 0.0 if self.fresh_for is None else time.time() - self.fresh_for

    def start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run it as a task that ends with the view."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def save(self, *changes: Change) -> None:
        """Write to the cache, after all that was to be written before.

        Nobody waits for it, but the view does at its end.
        """
        if self.cache.is_there:
            work = self._save(self._last_save, changes)
            self._last_save = asyncio.get_running_loop().create_task(work)

    async def _save(self, before: "asyncio.Task[None] | None", changes: Sequence[Change]) -> None:
        if before is not None:
            await before
        try:
            for change in changes:
                await self.cache.save(change)
        except (CacheError, TypeError) as error:  # a value of a type that no cache can hold
            log.warning("%s", error)

    async def saved(self) -> None:
        """Wait until all that was loaded so far is in the cache."""
        if self._last_save is not None:
            await asyncio.shield(self._last_save)

    async def close(self) -> None:
        """Cancel what is under way, and finish writing what has come."""
        self.is_live = False
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.saved()

    def note_outage(self, error: BaseException) -> None:
        """Leave the origin alone for a while, as it cannot be reached."""
        cause = (error.__cause__ if isinstance(error, OriginError) else None) or error
        self.outage = cause
        self.retry_at = time.monotonic() + self.retry_after
        # SQLAlchemy's text has the statement in further lines, and a timeout's is empty.
        told = str(driver_error(cause) or cause).partition("\n")[0]
        reason = told or type(cause).__name__
        log.warning("The origin cannot be reached (%s): the view uses its cache.", reason)
