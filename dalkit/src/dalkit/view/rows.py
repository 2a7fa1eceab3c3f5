"""The rows of one class: the objects of a view by their key."""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import Table

from ..reflection.reflection import collector_paused
from .cache_sql import Change
from .codec import DAMAGED, Key, key_text, loads, scan
from .loader import Things
from .matching import match, storable
from .modes import OFFLINE, PREFER_CACHE, Loaded, Mode
from .objects import Relation, ViewClass, ViewObject
from .origin import Query
from .space import Space
from .tables import TableInfo, quoted

if TYPE_CHECKING:
    from .sets import Follower, KnownSets, Results, Sets

O = TypeVar("O", bound=ViewObject)  # noqa: E741
Row = Sequence[Any]
new_object: Any = object.__new__


class Rows(Things["O | None"], Generic[O]):
    """Objects by their key, one for each row, and the keys of which there is no row."""

    def __init__(
        self,
        space: Space,
        entity: ViewClass,
        info: TableInfo,
        key: tuple[str, ...],
        hints: Mapping[str, Any],
    ) -> None:
        super().__init__(space)
        self.entity: Any = entity
        self.key = key
        self.objects: dict[Key, O] = {}
        self.absent: dict[Key, Loaded] = {}
        #: Keys that PostgreSQL has found a row by which spells its own otherwise.
        self.spelt: dict[Key, Key] = {}
        #: Where the relations lead, by what the class declares.
        self.related: dict[Relation, Follower] = {}
        #: The sets that a row of this class is in by the values of its own columns.
        self.inbound: list[Sets[Any]] = []
        #: All sets of rows of this class, and of these the results of statements.
        self.sets: list[KnownSets[Any]] = []
        self.results: Results[Any]
        self.number = 0
        #: The time of the newest row that the view has had.
        self.newest = 0.0
        self._cached_at: Loaded | None = None  # that of the last row from a file
        self._width = len(entity.fields)
        self._places = [entity.fields.index(name) for name in key]
        self.key_of_row: Any = itemgetter(*self._places)
        slots = [getattr(entity, name) for name in entity.fields]
        self._setters = [slot.__set__ for slot in slots]
        self._set_loaded = ViewObject._loaded.__set__  # type: ignore[attr-defined]
        self._kinds = tuple(hints[name] for name in key)
        self.adapt(info, None)

    def adapt(self, info: TableInfo, table: Table | None) -> None:
        """Go by this description of the table, and by the types of the reflected one."""
        self.info = info
        fields = self.entity.fields
        self.columns = ", ".join(f"t.{quoted(name)}" for name in fields)
        self.table = info.table() if table is None else table
        self.types = tuple(self.table.c[name].type for name in fields)

    @property
    def shape(self) -> int:
        """The number that the cache has given to the table and these fields."""
        return self.number

    def key_from(self, values: tuple[Any, ...]) -> Key:
        """The key of `view.Author(*values)`; raises TypeError unless it is one."""
        kinds = self._kinds
        if len(values) == 1 and type(values[0]) is kinds[0] and len(kinds) == 1:
            return values[0]
        name = self.entity.__name__
        if len(values) != len(kinds):
            raise TypeError(f"The key of {name} is ({', '.join(self.key)}), not {values!r}.")
        for value, kind, column in zip(values, kinds, self.key, strict=True):
            is_other = isinstance(kind, type) and not isinstance(value, kind)
            if is_other or (isinstance(value, bool) and kind is not bool):
                wanted = getattr(kind, "__name__", kind)
                raise TypeError(f"{name}.{column} is {wanted}, and {value!r} is none.")
        return values if len(values) > 1 else values[0]

    def known(self, key: Key) -> "tuple[O | None, Loaded] | None":
        """The object, or None when it is known that there is no row."""
        found = self.objects.get(key)
        if found is None and key in self.spelt:
            found = self.objects.get(self.spelt[key])
        if found is not None:
            return found, found._loaded
        loaded = self.absent.get(key)
        return None if loaded is None else (None, loaded)

    def mark_stale(self, key: Key) -> None:
        """See Things."""
        found = self.objects.get(self.spelt.get(key, key))
        if found is not None:
            self._set_loaded(found, found._loaded.stale())
        else:
            self.absent[key] = self.absent[key].stale()

    def described(self, key: Key) -> str:
        """Return `Author(1)`."""
        values = key if len(self.key) > 1 else (key,)
        return f"{self.entity.__name__}({', '.join(map(repr, values))})"

    def now(self, key: Key, mode: Mode | None) -> O | None:
        """The object, when it is known or in a local file; else None, and `get` finds it."""
        space = self.space
        wanted = space.mode if mode is None else space.checked(mode)
        if not space.is_live:
            return None
        known = self.objects.get(key)
        if known is None and (wanted is OFFLINE or wanted is PREFER_CACHE):
            known = self._read_now(key)
        return known if known is not None and space.accepts(known._loaded, wanted) else None

    def _read_now(self, key: Key) -> O | None:
        cache = self.space.cache
        try:
            for at, row in cache.row_now(self.number, key_text(key)):
                if row is not None:
                    loaded = self._cached_at
                    if loaded is None or loaded.at != at:
                        loaded = self._cached_at = Loaded(self, at, is_from_origin=False)
                        self.newest = max(self.newest, at)
                    return self._make(key, scan(f"[{row}]", 0)[0], loaded)
        except cache.errors as error:
            cache.broke(error)
        return None

    async def find_cached(self, keys: Sequence[Key], *, is_stale: bool) -> None:
        """See Things."""
        by_text = {str(key_text(key)): key for key in keys}
        found = await self.space.cache.rows(self.number, keys)
        there = [(at, row) for _, at, row in found if row is not None]
        with collector_paused():
            self.adopt_cached(there, is_stale=is_stale)
        for text, at, row in found:
            if row is None:
                loaded = Loaded(self, at, is_from_origin=False, is_stale=is_stale)
                self._adopt_absent(by_text[str(text)], loaded)

    def adopt_cached(self, found: Iterable[tuple[float, str]], *, is_stale: bool) -> None:
        """Make known rows of the cache: times, and the values of one row or of several."""
        by_time: dict[float, list[str]] = {}
        for at, text in found:
            by_time.setdefault(at, []).append(text)
        try:
            for at, texts in by_time.items():
                loaded = Loaded(self, at, is_from_origin=False, is_stale=is_stale)
                values = loads(f"[{','.join(texts)}]")
                columns = [values[place :: self._width] for place in range(self._width)]
                keys = columns[self._places[0]]
                if len(self._places) > 1:
                    keys = list(zip(*(columns[place] for place in self._places), strict=True))
                self._adopt_many(keys, columns, zip(*columns, strict=True), loaded)
        except DAMAGED as error:
            self.space.cache.broke(error)

    def _adopt_one(self, row: Row, loaded: Loaded) -> O:
        """The object of a row, which is changed when the row is newer than what it was made of."""
        key = self.key_of_row(row)
        known = self.objects.get(key)
        if known is None:
            return self._make(key, row, loaded)
        if loaded.at >= known._loaded.at:
            self._change(known, row, loaded)
        return known

    def _make(self, key: Key, row: Row, loaded: Loaded) -> O:
        made: O = new_object(self.entity)
        for put, value in zip(self._setters, row, strict=True):
            put(made, value)
        self._set_loaded(made, loaded)
        self.objects[key] = made
        if self.absent:
            self.absent.pop(key, None)
        return made

    def _change(self, known: O, row: Row, loaded: Loaded) -> None:
        """Give an object the values of a newer row; sets that it has left or joined go."""
        before = [sets.key_of(known) for sets in self.inbound]
        for put, value in zip(self._setters, row, strict=True):
            put(known, value)
        for sets, old in zip(self.inbound, before, strict=True):
            if (new := sets.key_of(known)) != old:
                sets.forget(old)
                sets.forget(new)
        is_worse = known._loaded.is_from_origin and loaded.at == known._loaded.at
        if not is_worse:  # what came from the origin stays so when the cache has the same
            self._set_loaded(known, loaded)

    def _adopt_absent(self, key: Key, loaded: Loaded) -> None:
        known = self.objects.get(key)
        if known is not None:
            if loaded.at < known._loaded.at:
                return
            for sets in self.inbound:
                sets.forget(sets.key_of(known))
            del self.objects[key]
        before = self.absent.get(key)
        if before is None or loaded.at >= before.at:
            self.absent[key] = loaded

    def adopt(self, rows: Sequence[Row], at: float) -> list[O]:
        """The objects of rows that have come from the origin."""
        rows = self.cut(rows)
        keys = list(map(self.key_of_row, rows))
        columns = [map(itemgetter(place), rows) for place in range(self._width)]
        return self._adopt_many(keys, columns, rows, Loaded(self, at, is_from_origin=True))

    def _adopt_many(
        self,
        keys: list[Key],
        columns: Sequence[Iterable[Any]],
        rows: Iterable[Row],
        loaded: Loaded,
    ) -> list[O]:
        """The objects of rows; those that are all new are made column by column."""
        self.newest = max(self.newest, loaded.at)
        objects = self.objects
        if gone := {key for key in keys if self._is_gone(key, loaded)} if self.absent else ():
            there = (row for key, row in zip(keys, rows, strict=True) if key not in gone)
            return [self._adopt_one(row, loaded) for row in there]
        if len(set(keys)) < len(keys) or not objects.keys().isdisjoint(keys):
            return [self._adopt_one(row, loaded) for row in rows]
        made = list(map(new_object, repeat(self.entity, len(keys))))
        for put, column in zip(self._setters, columns, strict=True):
            deque(map(put, made, column), 0)
        deque(map(self._set_loaded, made, repeat(loaded)), 0)
        objects.update(zip(keys, made, strict=True))
        if self.absent:
            for key in keys:
                self.absent.pop(key, None)
        return made

    def _is_gone(self, key: Key, loaded: Loaded) -> bool:
        """Whether it is known from a later time that there is no such row."""
        absent = self.absent.get(key)
        return absent is not None and absent.at > loaded.at

    def adopt_all(self, rows: Sequence[Row], absent: Iterable[Key], at: float) -> None:
        """Make known these rows, and that there are none with those keys."""
        self.adopt(rows, at)
        loaded = Loaded(self, at, is_from_origin=True)
        for key in absent:
            self._adopt_absent(key, loaded)

    async def ask_origin(self, keys: list[Key]) -> None:
        """Let the class load them; what it has not loaded is not there."""
        at = time.time()
        asked = storable(self.info, self.key, keys)
        if asked:
            await self.entity.load_by_key(self.space.view, asked)
        loaded = Loaded(self, at, is_from_origin=True)
        absent = []
        for key in keys:
            found = self.known(key)
            if found is None or found[1].at < at or not found[1].is_from_origin:
                self._adopt_absent(key, loaded)
                absent.append(key)
        if absent := storable(self.info, self.key, absent):
            self.space.save(Change(self.number, at, dict.fromkeys(absent)))

    async def load(self, keys: list[Key]) -> list[O]:
        """Load these from the origin, in one statement."""
        at = time.time()
        origin = await self.space.reach()
        query, values = self.query(keys)
        rows = await origin.read(query, values)
        with collector_paused():
            objects = self.adopt(rows, at)
            self.save(rows, at)
            if rows and len(rows[0]) > self._width:
                pairs = ((keys[row[-1] - 1], self.key_of_row(row)) for row in rows)
                self.spelt.update(pair for pair in pairs if pair[0] != pair[1])
        return objects

    def query(self, keys: Sequence[Key]) -> tuple[Query, list[list[Any]]]:
        """SELECT of the rows with these keys."""
        found = match(self.info, "t.", self.key, keys)
        sql = f"SELECT {self.columns}{found.selected} FROM {self.info.sql} AS t"
        return found.query(sql, self.entity.fields, self.types), found.values

    def save(self, rows: Sequence[Row], at: float) -> None:
        """Have the cache remember them."""
        if rows and self.space.cache.is_there:
            self.space.save(Change(self.number, at, self.by_key(rows)))

    def by_key(self, rows: Sequence[Row]) -> dict[Key, Row]:
        """The rows by their key, without what more than the fields they have."""
        return dict(zip(map(self.key_of_row, rows), self.cut(rows), strict=True))

    def cut(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The rows without what a relation has them selected with."""
        width = len(self.entity.fields)
        return [row[:width] for row in rows] if rows and len(rows[0]) > width else rows
