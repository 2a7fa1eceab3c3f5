"""Asks the origin again for everything that the cache and the view have, as of one moment."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from .cache_sql import Change
from .codec import Key, dumps, encode_rows, loads
from .loader import MOST_KEYS
from .origin import Query, Read, is_unreachable
from .rows import Rows
from .sets import Groups, KnownSets, Results, Row, Sets
from .space import Space
from .statements import Statement


class Refreshed(NamedTuple):
    """What `refresh_all` has found, in rows."""

    same: int
    """Rows that are as they were."""
    changed: int
    """Rows with other values, and rows that are new in a relation or the result of a statement."""
    gone: int
    """Rows that the origin has no more."""
    failed: int
    """Rows, relations and statements that the origin refused to read: they stay as they were."""


class Refreshing:
    """One `refresh_all`: it reads everything first, and then writes it in one transaction."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._at = 0.0
        self._counts = dict.fromkeys(Refreshed._fields, 0)
        self._changes: list[Change] = []
        #: What to do to the view when all is written.
        self._adopt: list[Any] = []

    async def run(self) -> Refreshed:
        """Raise what the origin raises when it cannot be reached; nothing has changed then."""
        space = self._space
        await space.saved()
        origin = await space.reach()
        async with origin.snapshot() as read:
            self._at = time.time()
            for rows in space.rows.values():
                old = await self._texts(rows)
                await self._rows(read, rows, old)
                for sets in rows.sets:
                    await self._sets(read, sets, old)
        await space.cache.replace(self._changes)
        for adopt, *arguments in self._adopt:
            adopt(*arguments)
        return Refreshed(**self._counts)

    async def _texts(self, rows: Rows[Any]) -> dict[Key, str | None]:
        """The rows that are known, as the cache would write them."""
        found: dict[Key, str | None] = dict.fromkeys(rows.absent)
        fields = rows.entity.fields
        for key, one in rows.objects.items():
            found[key] = _text([getattr(one, name) for name in fields])
        for stored in await self._space.cache.everything(rows.shape, None):
            found[loads(str(stored.key))] = stored.text
        return found

    async def _rows(self, read: Read, rows: Rows[Any], old: dict[Key, str | None]) -> None:
        for keys in _pieces(old):
            query, values = rows.query(keys)
            found = await self._read(read, query, values, len(keys))
            if found is None:
                continue
            new = rows.by_key(found)
            for key in keys:
                self._count(old[key], new.get(key))
            written = {key: new.get(key) for key in keys}
            self._changes.append(Change(rows.shape, self._at, written))
            absent = [key for key in keys if key not in new]
            self._adopt.append((rows.adopt_all, found, absent, self._at))

    def _count(self, old: str | None, new: Sequence[Any] | None) -> None:
        if new is None:
            self._counts["gone"] += old is not None
        else:
            self._counts["same" if old == _text(new) else "changed"] += 1

    async def _sets(self, read: Read, sets: "KnownSets[Any]", old: dict[Key, str | None]) -> None:
        stored = await self._space.cache.everything(sets.shape, sets.relation)
        keys = dict.fromkeys(loads(str(one.key)) for one in stored)
        keys |= dict.fromkeys(sets.sets)
        if isinstance(sets, Sets):
            for some in _pieces(keys):
                query, values = sets.query(some)
                rows = await self._read(read, query, values, len(some))
                if rows is not None:
                    self._note(sets, sets.groups(some, rows), rows, old)
        elif isinstance(sets, Results):
            for key in keys:
                statement = Statement.from_key(key)
                rows = await self._read(read, sets.query(statement), statement.values, 1)
                if rows is not None:
                    self._note(sets, sets.groups(key, rows), rows, old)

    def _note(
        self, sets: KnownSets[Any], groups: Groups, rows: Sequence[Row], old: dict[Key, str | None]
    ) -> None:
        """Count the rows that are new, and keep the rest for when everything is read."""
        self._changes.append(sets.change(groups, rows, self._at))
        self._adopt.append((sets.adopt, groups, rows, self._at))
        for key, row in sets.rows.by_key(rows).items():
            if old.get(key) is None:
                self._counts["changed"] += 1
                old[key] = _text(row)

    async def _read(
        self, read: Read, query: Query, values: Sequence[Any], size: int
    ) -> list[tuple[Any, ...]] | None:
        try:
            return await read(query, values)
        except Exception as error:
            if is_unreachable(error):
                raise
            self._counts["failed"] += size
            return None


def _pieces(keys: Iterable[Key]) -> Iterator[list[Key]]:
    found = list(keys)
    for start in range(0, len(found), MOST_KEYS):
        yield found[start : start + MOST_KEYS]


def _text(row: Sequence[Any]) -> str:
    return dumps(encode_rows([row])[0])[1:-1]
