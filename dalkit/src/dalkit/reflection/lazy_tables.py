"""Builds each table when it is first asked for."""

import gc
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import NamedTuple

from sqlalchemy import MetaData, Table

from .constraint_columns import Columns, constraint_columns
from .relation_rows import RelationRows
from .tables import TableBuilder
from .unique_keys import UniqueKey, unique_keys


class Keys(NamedTuple):
    """What a relation's constraints and unique indexes are made of."""

    unique: Sequence[UniqueKey]
    #: By the qualified name of the table, and of its partitions.
    constraints: dict[str, Columns]


class LazyTables:
    """The tables of one catalog: what nobody asks for is never built.

    A table comes together with those that its foreign keys lead to, in one step or not at all. Any
    thread may ask. The rows that a table was built from are dropped.
    """

    def __init__(self, rows: dict[int, RelationRows], builder: TableBuilder) -> None:
        self._rows = rows
        self._builder = builder
        self._tables: dict[int, Table] = {}
        self._keys: dict[int, Keys] = {}
        self._lock = RLock()

    @property
    def metadata(self) -> MetaData:
        """Where they are built."""
        return self._builder.metadata

    @property
    def built(self) -> Collection[int]:
        """The oids of those that are built."""
        with self._lock:
            return list(self._tables)

    def get(self, oid: int) -> Table:
        """The table of this relation."""
        if oid not in self._tables:
            self.build([oid])
        return self._tables[oid]

    def keys(self, oid: int) -> Keys:
        """The keys of this relation; its table need not be built for that."""
        if oid not in self._keys:
            with self._lock:
                self._find_keys(oid)
        return self._keys[oid]

    def build(self, oids: Iterable[int] | None = None) -> None:
        """Build these, or all, unless they are built already."""
        with self._lock, collector_paused():
            wanted = self._with_targets(list(self._rows) if oids is None else oids)
            tables = self._build(wanted)
            for oid in wanted:
                self._find_keys(oid)
                del self._rows[oid]
            self._tables.update(tables)

    def _build(self, oids: Iterable[int]) -> dict[int, Table]:
        before = set(self.metadata.tables)
        try:
            return self._all_of(oids)
        except BaseException:
            for name in self.metadata.tables.keys() - before:
                self.metadata.remove(self.metadata.tables[name])
            raise

    def _all_of(self, oids: Iterable[int]) -> dict[int, Table]:
        tables, made = {}, []
        for oid in oids:
            table = self._builder.declared(self._rows[oid])
            if table is None:
                table = self._builder.table(self._rows[oid])
                made.append(oid)
            tables[oid] = table
        # Only now, because foreign keys may lead anywhere, in a circle too.
        for oid in made:
            self._builder.add_foreign_keys(tables[oid], self._rows[oid])
        return tables

    def _with_targets(self, oids: Iterable[int]) -> list[int]:
        """Those that are not built yet, and all that foreign keys lead to from there."""
        wanted: dict[int, None] = {}
        waiting = list(oids)[::-1]
        while waiting:
            oid = waiting.pop()
            if oid in self._rows and oid not in wanted:
                wanted[oid] = None
                waiting += [row.target for row in self._rows[oid].constraints if row.kind == "f"]
        return list(wanted)

    def _find_keys(self, oid: int) -> None:
        if oid not in self._keys:
            rows = self._rows[oid]
            self._keys[oid] = Keys(unique_keys(rows), constraint_columns(rows))


@contextmanager
def collector_paused() -> Iterator[None]:
    """Reflection makes many objects that all live on: the collector would only walk them."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
