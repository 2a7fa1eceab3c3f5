"""The cache of a view, or none: what it is asked, and what becomes of it when it breaks."""

import logging
import os
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from sqlalchemy import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from .cache_sql import RESULTS, Change, Dialect, FoundSets, Statements, Steps
from .codec import DAMAGED, Key, key_text
from .errors import CacheError
from .postgres import PostgresCache
from .sqlite import SqliteFile, SqliteMemory
from .tables import TableInfo

T = TypeVar("T")
CacheGiven = str | URL | Path | AsyncEngine | SqliteMemory | None
log = logging.getLogger("dalkit.view")


class Stored(NamedTuple):
    """A row, which is None when the origin has none, or the members of a set."""

    key: int | str
    at: float
    text: str | None


class Claimed(NamedTuple):
    """Keys by who has to load them: nobody, this process, another one."""

    fresh: list[Key]
    mine: list[Key]
    theirs: list[Key]


RowNow = Callable[[int, int | str], Sequence[tuple[float, str | None]]]


def _nothing(shape: int, key: int | str) -> Sequence[tuple[float, str | None]]:
    return ()


class Driver(Protocol):
    """A database that holds a cache."""

    dialect: Dialect
    errors: tuple[type[BaseException], ...]

    async def open(self) -> None:
        """Connect, and make the tables when there are none; raises CacheError."""
        ...

    async def close(self) -> None:
        """Leave nothing open."""
        ...

    def row_now(self, shape: int, key: int | str) -> Sequence[tuple[float, str | None]]:
        """One row at most; none when that would have to wait."""
        ...

    async def read(self, steps: Steps[T], size: int) -> T:
        """Run what only reads, for about so many rows, as of one moment."""
        ...

    async def write(self, steps: Callable[[], Steps[T]]) -> T:
        """Run it in one transaction."""
        ...

    def sentence(self, error: BaseException) -> str:
        """What is wrong, and what to do."""
        ...


class Cache:
    """A cache, or none: then nothing is found in it and everything is to be loaded.

    When it breaks, a view with an origin goes on without it after a warning; one without an origin
    gets a CacheError.
    """

    def __init__(self, driver: Driver | None, *, is_required: bool) -> None:
        self._driver = driver
        self._broken_driver: Driver | None = None
        self._is_required = is_required
        self._owner = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}"
        self._has_claimed = False
        self._statements = Statements(driver.dialect) if driver else None
        #: What reading a row may raise: errors of the driver, and those of a damaged text.
        self.errors: tuple[type[BaseException], ...] = (
            *(driver.errors if driver else ()),
            *DAMAGED,
        )
        #: Reads one row when that needs no waiting: its time, and its text or None.
        self.row_now: RowNow = _nothing

    @property
    def is_there(self) -> bool:
        """Whether there is one that works."""
        return self._driver is not None

    async def open(self) -> None:
        """Raise CacheError when it cannot be used and is needed."""
        if self._driver is not None:
            try:
                await self._driver.open()
                self.row_now = self._driver.row_now
            except CacheError as error:
                await self._driver.close()
                try:
                    self._broken(error, str(error))
                finally:
                    self._driver = None

    async def close(self) -> None:
        """Release what was claimed, and leave nothing open."""
        self.row_now = _nothing
        owner = self._owner
        if self._has_claimed:
            await self._write(lambda to: to.forget(owner), None)
        for driver in (self._driver, self._broken_driver):
            if driver is not None:
                await driver.close()

    def broke(self, error: BaseException) -> None:
        """Note an error of the driver; raises CacheError when there is no origin."""
        if self._driver is not None:
            self._broken(error, self._driver.sentence(error))

    def _broken(self, error: BaseException, sentence: str) -> None:
        if self._is_required:
            raise CacheError(sentence) from error
        if self._driver is not None:
            log.warning("%s The view goes on without its cache.", sentence)
            self._broken_driver = self._driver
        self._driver = None
        self.row_now = _nothing

    async def _read(self, make: Callable[["Statements"], Steps[T]], size: int, otherwise: T) -> T:
        driver, statements = self._driver, self._statements
        if driver is None or statements is None:
            return otherwise
        try:
            return await driver.read(make(statements), size)
        except self.errors as error:
            await self._give_up(driver, error)
            return otherwise

    async def _write(self, make: Callable[["Statements"], Steps[T]], otherwise: T) -> T:
        driver, statements = self._driver, self._statements
        if driver is None or statements is None:
            return otherwise
        try:
            return await driver.write(partial(make, statements))
        except driver.errors as error:
            await self._give_up(driver, error)
            return otherwise

    async def _give_up(self, driver: Driver, error: BaseException) -> None:
        self._broken(error, driver.sentence(error))
        await driver.close()

    async def tables(self) -> dict[str, TableInfo]:
        """What was known of the tables when the origin was last seen, by name."""
        found: list[Any] = await self._read(lambda to: to.tables(), 1, [])
        return {name: TableInfo.from_json(info) for name, info in found}

    async def register(
        self, tables: Mapping[str, TableInfo], shapes: Sequence[tuple[str, tuple[str, ...]]]
    ) -> list[int]:
        """The numbers of these shapes: names of tables and their fields.

        What the cache has of a table that has changed since is dropped.
        """
        none = [0] * len(shapes)
        known: list[int] | None = None
        known = await self._read(lambda to: to.registered(tables, shapes), 1, known)
        if known is not None:  # most often: then nobody has to wait for who writes
            return known
        return await self._write(lambda to: to.register(tables, shapes), none)

    async def rows(self, shape: int, keys: Sequence[Key]) -> list[Any]:
        """Key, time and text of those of these rows that the cache knows of."""
        return await self._read(lambda to: to.rows(shape, keys), len(keys), [])

    async def sets(self, shape: int, relation: str, keys: Sequence[Key]) -> FoundSets:
        """Those of these sets that the cache has, and the rows in them, as of one moment."""
        size = 10 * len(keys) if relation != RESULTS else 1000
        none = FoundSets((), (), (), ())
        return await self._read(lambda to: to.sets(shape, relation, keys), size, none)

    async def save(self, change: Change) -> None:
        """Write what the origin has answered; what is newer in the cache stays."""
        owner = self._owner
        for part in change.parts():
            await self._write(lambda to, part=part: to.save(part, owner), None)  # type: ignore[misc]

    async def replace(self, changes: Sequence[Change]) -> None:
        """Write all of this in one transaction."""
        owner = self._owner

        def steps(to: Statements) -> Steps[None]:
            for change in changes:
                for part in change.parts():
                    yield from to.save(part, owner)

        await self._write(steps, None)

    async def claim(self, shape: int, relation: str, keys: Sequence[Key], since: float) -> Claimed:
        """Which of these are in the cache from `since` on, and which this process may load.

        What is claimed is released by the Change that brings it, or by `release`.
        """
        by_text = {str(key_text(key)): key for key in keys}
        owner, self._has_claimed = self._owner, True
        nobody: tuple[list[str], list[str]] = ([], list(by_text))
        fresh, mine = await self._write(
            lambda to: to.claim(shape, relation, keys, since, owner), nobody
        )
        theirs = by_text.keys() - fresh - set(mine)
        return Claimed(*([by_text[one] for one in some] for some in (fresh, mine, theirs)))

    async def release(self, shape: int, relation: str, keys: Sequence[Key]) -> None:
        """Let others load what was claimed."""
        await self.save(Change(shape, 0, relation=relation, claimed=keys))

    async def everything(self, shape: int, relation: str | None) -> list[Stored]:
        """The rows of a shape, or the sets of one of its relations as JSON of their keys."""
        found: list[Any] = await self._read(lambda to: to.everything(shape, relation), 10_000, [])
        return [Stored(*one) for one in found]


def driver_of(given: CacheGiven) -> Driver | None:
    """The database that a view is given as its cache; raises ValueError for what cannot be one."""
    if given is None or isinstance(given, SqliteMemory):
        return given
    if isinstance(given, Path):
        return SqliteFile(given)
    if isinstance(given, str) and "://" not in given:
        raise ValueError(f"cache={given!r} is no URL: use sqlite:///{given}, or a Path.")
    url = given.url if isinstance(given, AsyncEngine) else make_url(given)
    backend = url.get_backend_name()
    if backend == "sqlite":
        is_file = url.database and url.database != ":memory:"
        return SqliteFile(Path(url.database or "")) if is_file else SqliteMemory()
    if backend.startswith("postgres"):
        return PostgresCache(given)
    raise ValueError(f"A cache is in SQLite or PostgreSQL, not in {backend}.")
