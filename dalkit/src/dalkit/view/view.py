"""A view: the classes that belong together, from its opening to its end."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from time import time
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Executable, Table

from ..errors import UnknownColumn
from .binding import Binding
from .cache import Cache, CacheGiven, driver_of
from .codec import Key
from .errors import Missing, NeverLoaded, NotLive
from .modes import Age, Mode, checked_mode
from .objects import NOTHING, Relation, ViewClass, ViewObject
from .origin import TIMEOUT, Given, Origin
from .refresh import Refreshed, Refreshing
from .rows import Rows
from .space import Space
from .sqlite import SqliteMemory
from .statements import canonical

T = TypeVar("T", bound=ViewObject)
D = TypeVar("D")
#: A class of rows: for a type checker it makes what is to be awaited, as `view.Author` does.
Class = Callable[..., Awaitable[T]]
Where = Mapping[str, Any] | ColumnElement[bool] | None


class View:
    """A read-only view of a database, with a cache: name its classes in a subclass.

    `class Library(View): Author = Author; Book = Book`, and then
    `async with Library(origin, cache="sqlite:///library.cache") as view:`. It is opened once.

    `origin` is a DataAccessLayer, an AsyncEngine, a URL, or None, which needs Mode.OFFLINE. `cache`
    is the URL or path of a SQLite file, the URL or engine of a PostgreSQL database, what
    `in_memory_cache()` returns, or None: then the view knows what it has loaded itself.
    `fresh_for` is the age in seconds up to which PREFER_CACHE takes what is there, None without
    limit; `retry_after` the seconds for which FALLBACK leaves an origin alone that could not be
    reached; `timeout` the seconds that a statement to the origin may take.
    """

    entities: ClassVar[dict[str, ViewClass]] = {}

    def __init_subclass__(cls) -> None:
        """Collect the classes."""
        super().__init_subclass__()
        own = {name: it for name, it in vars(cls).items() if isinstance(it, ViewClass)}
        cls.entities = {**cls.entities, **own}

    def __init__(
        self,
        origin: Given,
        *,
        cache: CacheGiven = None,
        mode: Mode = Mode.ONLINE,
        fresh_for: float | None = None,
        retry_after: float = 5.0,
        timeout: float = TIMEOUT,
    ) -> None:
        mode = checked_mode(mode, has_origin=origin is not None)
        self._origin = None if origin is None else Origin(origin, timeout)
        self._cache = Cache(driver_of(cache), is_required=origin is None)
        self._space = Space(self, self._origin, self._cache, mode, fresh_for, retry_after)
        self._binding = Binding(self._space, self.entities)
        self._space.reach = self._binding.reach
        self._was_opened = False

    async def __aenter__(self) -> Self:
        """Open it, once.

        Raises ViewMismatch when the classes do not fit the tables, UnknownTable, CacheError when
        the cache is needed and cannot be used, OriginError when that is so of the origin,
        NeverLoaded when the cache knows nothing of a table, and NotLive when the view was opened
        before.
        """
        if self._was_opened:
            raise NotLive("A view is opened once: make another one.")
        self._was_opened = True
        try:
            await self._cache.open()
            await self._binding.open()
        except BaseException:
            await self._close()
            raise
        self._space.is_live = True
        # An attribute of the object is found faster than ViewClass.__get__ is called.
        vars(self).update((name, ByKey(self._rows(it))) for name, it in self.entities.items())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cancel what is loading, write what has come, and leave nothing open."""
        for name in self.entities:
            vars(self).pop(name, None)
        await self._close()

    async def _close(self) -> None:
        async with AsyncExitStack() as last_first:  # whatever one of them raises
            last_first.push_async_callback(self._cache.close)
            if self._origin is not None:
                last_first.push_async_callback(self._origin.close)
            last_first.push_async_callback(self._space.close)

    @property
    def mode(self) -> Mode:
        """When the origin is asked; it may be set at any time."""
        return self._space.mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        """Raise ValueError for a mode that needs an origin when there is none; TypeError."""
        self._space.mode = self._space.checked(mode)

    def by_key(self, entity: Class[T]) -> "ByKey[T]":
        """What `view.Author` is: call it with a key. Raises NotLive, LookupError."""
        self._space.check()
        return ByKey(self._rows(entity))

    async def find(
        self, entity: Class[T], *key: Any, mode: Mode | None = None, default: Any = NOTHING
    ) -> T | None:
        """The object with this key, or None when there is no such row.

        Raises NeverLoaded, or returns `default` instead; NotLive, and what the origin raises.
        """
        rows = self._rows(entity)
        try:
            return await rows.get(rows.key_from(key), mode)
        except NeverLoaded:
            if default is NOTHING:
                raise
            found: T | None = default
            return found

    async def load(
        self,
        entity: Class[T],
        where: Where = None,
        *,
        include: Sequence[Relation] = (),
        mode: Mode | None = None,
        default: Any = NOTHING,
    ) -> tuple[T, ...]:
        """All objects of a class, or those of `where`, in the order of their keys.

        `where` is a mapping of columns to values (None: IS NULL), or an expression on
        `view.table(Author)`. Each relation of `include` is loaded for all objects that have come so
        far, with one statement. Raises what `fetch` does.
        """
        rows = self._rows(entity)
        table = rows.table
        statement = sa.select(*(table.c[name] for name in rows.entity.fields))
        if isinstance(where, ColumnElement):
            statement = statement.where(where)
        else:
            for name, value in (where or {}).items():
                if name not in table.c:
                    raise UnknownColumn(name, table)
                statement = statement.where(table.c[name] == value)
        statement = statement.order_by(*(table.c[name] for name in rows.key))
        return await self.fetch(statement, entity, include=include, mode=mode, default=default)

    async def fetch(
        self,
        statement: Executable,
        entity: Class[T],
        parameters: Mapping[str, Any] | None = None,
        *,
        include: Sequence[Relation] = (),
        mode: Mode | None = None,
        default: Any = NOTHING,
    ) -> tuple[T, ...]:
        """The rows of a SELECT as objects; it has a column for each field of the class.

        The result is known, and kept in the cache, by the text of the statement and its values.
        Raises NeverLoaded, or returns `default` instead; LookupError when a column is missing,
        NotLive, and what the origin raises.
        """
        results = self._rows(entity).results
        wanted = canonical(statement, parameters)
        results.statements[wanted.key] = wanted
        try:
            found = await results.get(wanted.key, mode)
        except NeverLoaded:
            if default is NOTHING:
                raise
            otherwise: tuple[T, ...] = default
            return otherwise
        if include:
            await self._include(found, include, mode)
        return found

    async def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """The rows of a statement by column name, from the origin; nothing of it is cached.

        It runs in a READ ONLY transaction. Raises NotLive, ValueError without an origin, and what
        the origin raises.
        """
        self._space.check()
        if self._origin is None:
            raise ValueError("This view has no origin that could execute a statement.")
        return await self._origin.execute(statement, parameters)

    async def refresh(self, of: T) -> T:
        """Ask the origin again for a row, and for those of its relations that are known.

        The object itself is changed, and returned. Raises Missing when the row is gone, NotLive,
        and what the origin raises.
        """
        rows = of._loaded.rows
        key = rows.key_of_row([getattr(of, name) for name in rows.entity.fields])
        await self._ask(rows, key)
        if rows.objects.get(key) is not of:
            raise Missing(f"{rows.described(key)} is gone.")
        for follower in rows.related.values():
            set_key = follower.key(of)
            if follower.sets is not None and follower.sets.known(set_key):
                await self._ask(follower.sets, set_key)
        return of

    async def _ask(self, things: Any, key: Key) -> None:
        self._space.check()
        if self._origin is None:
            raise ValueError("This view has no origin that could be asked again.")
        await things.ask((key,), Mode.ONLINE)

    async def refresh_all(self) -> Refreshed:
        """Ask the origin again for everything of these classes that the cache or the view has.

        It is read in one REPEATABLE READ transaction and written in one, so that the cache is as it
        was or complete. Raises NotLive, ValueError without an origin, and what the origin raises.
        """
        self._space.check()
        if self._origin is None:
            raise ValueError("This view has no origin that could be asked again.")
        return await Refreshing(self._space).run()

    def age(self, of: ViewObject, relation: Relation | None = None) -> Age:
        """When and from where an object was loaded, or what a relation of it leads to.

        Raises NeverLoaded for a relation that was not awaited.
        """
        rows = of._loaded.rows
        loaded = of._loaded if relation is None else rows.related[relation].loaded(of)
        if loaded is None:
            raise NeverLoaded(f"{relation!r} of {of!r} was not loaded: await it first.")
        source = "origin" if loaded.is_from_origin else "cache"
        moment = datetime.fromtimestamp(loaded.at, UTC)
        return Age(moment, time() - loaded.at, source, loaded.is_stale)

    def table(self, entity: Class[ViewObject]) -> Table:
        """The table of a class, for statements of your own. Raises NotLive, LookupError."""
        self._space.check()
        return self._rows(entity).table

    async def load_by_key(
        self, entity: Class[ViewObject], keys: list[Key], include: Sequence[Relation] = ()
    ) -> None:
        """What `ViewObject.load_by_key` does unless it is overridden."""
        objects = await self._rows(entity).load(keys)
        mode = Mode.ONLINE if self.mode is Mode.OFFLINE else self.mode
        await self._include(objects, include, mode)

    async def _include(
        self, objects: Iterable[ViewObject], include: Sequence[Relation], mode: Mode | None
    ) -> None:
        found = list(objects)
        for number, relation in enumerate(include, 1):
            owners = [one for one in found if isinstance(one, relation.owner)]
            if not owners:
                continue
            follower = owners[0]._loaded.rows.related[relation]
            reached = await follower.load(owners, mode)
            if number < len(include):
                found = [one for one in dict.fromkeys([*found, *reached]) if one is not None]

    def _rows(self, entity: Any) -> Rows[Any]:
        try:
            return self._space.rows[entity]
        except KeyError:
            self._space.check()
            name = getattr(entity, "__name__", entity)
            raise LookupError(f"{type(self).__name__} has no class {name}.") from None


class ByKey(Generic[T]):
    """What `view.Author` is: called with a key and awaited, it gives the object."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Rows[T]) -> None:
        self._rows = rows

    async def __call__(self, *key: Any, mode: Mode | None = None) -> T:
        """Raise Missing when there is no such row, NeverLoaded, NotLive, what the origin raises."""
        rows = self._rows
        wanted = rows.key_from(key)
        found = rows.now(wanted, mode) or await rows.get(wanted, mode)
        if found is None:
            raise Missing(f"{rows.described(wanted)} does not exist.")
        return found


def in_memory_cache() -> SqliteMemory:
    """A cache in memory: give it to one view after the other, of one process."""
    return SqliteMemory()
