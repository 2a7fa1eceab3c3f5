"""Loads things once: what is known, what is under way, then the cache or the origin."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from .cache_sql import Change
from .codec import Key
from .errors import NeverLoaded, NotLive
from .modes import FALLBACK, OFFLINE, PREFER_CACHE, Loaded, Mode
from .origin import is_unreachable
from .space import Space

T = TypeVar("T")
#: Keys in one statement.
MOST_KEYS = 10_000
#: Seconds between two looks at what another process is loading: at first, and at most.
FIRST_LOOK, LAST_LOOK = 0.002, 0.05


class Batch:
    """Keys that are loaded together, and what those who want one of them wait for."""

    __slots__ = ("done", "keys")

    def __init__(self) -> None:
        self.keys: dict[Key, None] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.done.add_done_callback(_retrieved)

    def ended(self, task: "asyncio.Task[None]") -> None:
        """Tell those who wait when the load was cancelled, which may be before it has begun."""
        if not self.done.done():
            self.done.set_exception(NotLive("The view was closed while this was loading."))


def _retrieved(future: "asyncio.Future[None]") -> None:
    """Nobody may be left to hear of an error."""
    if not future.cancelled():
        future.exception()


class Things(Generic[T]):
    """Things of one kind by their key: the rows of a class, the sets of a relation."""

    relation = ""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._open: dict[Mode, Batch] = {}
        self._under_way: dict[tuple[Mode, Key], Batch] = {}

    @property
    def shape(self) -> int:
        """The number of the rows' class in the cache."""
        raise NotImplementedError

    def known(self, key: Key) -> tuple[T, Loaded] | None:
        """What the view knows under this key."""
        raise NotImplementedError

    def mark_stale(self, key: Key) -> None:
        """Let what is known count for as long as the origin is not tried again."""
        raise NotImplementedError

    async def find_cached(self, keys: Sequence[Key], *, is_stale: bool) -> None:
        """Make known what the cache has."""
        raise NotImplementedError

    async def ask_origin(self, keys: list[Key]) -> None:
        """Make known what the origin says, and have it written to the cache."""
        raise NotImplementedError

    def described(self, key: Key) -> str:
        """What an error calls the thing of this key."""
        raise NotImplementedError

    async def get(self, key: Key, mode: Mode | None = None) -> T:
        """One thing. Raises NeverLoaded, NotLive and what the origin raises."""
        space = self.space
        if not space.is_live:
            space.check()
        mode = space.mode if mode is None else space.checked(mode)
        found = self.known(key)
        if found is None or not space.accepts(found[1], mode):
            if mode is OFFLINE or mode is PREFER_CACHE:
                await self.find_cached((key,), is_stale=False)
                found = self.known(key)
            if found is None or not space.accepts(found[1], mode):
                found = await self._asked(key, mode)
        return found[0]

    async def _asked(self, key: Key, mode: Mode) -> tuple[T, Loaded]:
        if mode is not OFFLINE:
            await self.ask((key,), mode)
        found = self.known(key)
        if found is None or not self._will_do(found[1], mode):
            raise self.never_loaded(key, mode)
        return found

    def _will_do(self, loaded: Loaded, mode: Mode) -> bool:
        """Whether it answers a question that was just asked: another may have come with it."""
        return mode is not FALLBACK or loaded.is_from_origin or loaded.is_stale

    def never_loaded(self, key: Key, mode: Mode) -> NeverLoaded:
        """The error for a thing that nobody has."""
        where = "the cache" if self.space.cache.is_there else "the view, which has no cache"
        error = NeverLoaded(f"{self.described(key)} is not in {where}.")
        if mode is FALLBACK:
            error = NeverLoaded(f"{error} The origin cannot be reached.")
            error.__cause__ = self.space.outage
        return error

    async def get_many(self, keys: Iterable[Key], mode: Mode | None = None) -> list[T | None]:
        """The things of these keys; None for what nobody has. Raises what `get` does."""
        space = self.space
        space.check()
        mode, keys = space.mode if mode is None else space.checked(mode), list(keys)
        wanted = self._not_known(keys, mode)
        if wanted and mode in (OFFLINE, PREFER_CACHE):
            await self.find_cached(wanted, is_stale=False)
            wanted = self._not_known(wanted, mode)
        if wanted and mode is not OFFLINE:
            await self.ask(wanted, mode)
        return [found[0] if (found := self.known(key)) else None for key in keys]

    def _not_known(self, keys: Sequence[Key], mode: Mode) -> list[Key]:
        found = ((key, self.known(key)) for key in dict.fromkeys(keys))
        accepts = self.space.accepts
        return [key for key, one in found if one is None or not accepts(one[1], mode)]

    async def ask(self, keys: Sequence[Key], mode: Mode) -> None:
        """Wait until these are loaded, with all that is asked for in this turn of the loop.

        What is under way already is waited for. A waiter that is cancelled takes nothing from the
        others, and an error is raised to all of them.
        """
        batches = {self._batch(key, mode): None for key in keys}
        for batch in batches:
            await asyncio.shield(batch.done)
        self.space.check()

    def _batch(self, key: Key, mode: Mode) -> Batch:
        batch = self._under_way.get((mode, key))
        if batch is None:
            batch = self._open.get(mode)
            if batch is None:
                batch = self._open[mode] = Batch()
                self.space.start(self._load(batch, mode)).add_done_callback(batch.ended)
            batch.keys[key] = None
            self._under_way[mode, key] = batch
        return batch

    async def _load(self, batch: Batch, mode: Mode) -> None:
        """Load a batch; as a task it starts in the next turn of the loop."""
        try:
            del self._open[mode]
            await self._load_keys(list(batch.keys), mode)
        except Exception as error:  # noqa: BLE001 - whoever waits has it
            batch.done.set_exception(error)
        else:
            batch.done.set_result(None)
        finally:
            for key in batch.keys:
                del self._under_way[mode, key]

    async def _load_keys(self, keys: list[Key], mode: Mode) -> None:
        space = self.space
        if mode is PREFER_CACHE and space.cache.is_there:
            await self._load_unless_another_does(keys)
        elif mode is not FALLBACK:
            await self._load_from_origin(keys)
        else:
            if time.monotonic() >= space.retry_at:
                try:
                    await self._load_from_origin(keys)
                except Exception as error:
                    if not is_unreachable(error):
                        raise
                    space.note_outage(error)
                else:
                    return
            await self._fall_back(keys)

    async def _fall_back(self, keys: list[Key]) -> None:
        await self.find_cached(keys, is_stale=True)
        for key in keys:
            found = self.known(key)
            if found is not None and not found[1].is_stale:
                self.mark_stale(key)

    async def _load_from_origin(self, keys: list[Key]) -> None:
        await self.space.reach()
        for start in range(0, len(keys), MOST_KEYS):
            await self.ask_origin(keys[start : start + MOST_KEYS])

    async def _load_unless_another_does(self, keys: list[Key]) -> None:
        """Load what no other process has just loaded or is loading, and wait for the rest."""
        space, pause = self.space, FIRST_LOOK
        await space.reach()
        while keys:
            await space.saved()  # what this process has claimed and loaded is there for itself, too
            claimed = await space.cache.claim(self.shape, self.relation, keys, space.since)
            mine = claimed.mine
            if claimed.fresh:
                await self.find_cached(claimed.fresh, is_stale=False)
                mine += [key for key in claimed.fresh if not self._is_fresh(key)]
            if mine:
                await self._load_claimed(mine)
                pause = FIRST_LOOK
            keys = claimed.theirs
            if keys and not mine:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_LOOK)

    def _is_fresh(self, key: Key) -> bool:
        found = self.known(key)
        return found is not None and self.space.accepts(found[1], PREFER_CACHE)

    async def _load_claimed(self, keys: list[Key]) -> None:
        try:
            await self._load_from_origin(keys)
        finally:
            self.space.save(Change(self.shape, 0, relation=self.relation, claimed=keys))
