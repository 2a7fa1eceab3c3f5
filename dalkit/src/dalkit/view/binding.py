"""Binds the classes of a view to their tables, as the origin or the cache knows them."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ConfigDict
from sqlalchemy import Table

from ..data.dal import DataAccessLayer
from ..entities import ReadEntity
from ..entities.check import EntityMismatch, check_entities
from .errors import NeverLoaded, ViewMismatch
from .links import Link, Tables, find_links, hints_of, key_of, through_tables
from .modes import Mode
from .objects import ViewClass
from .origin import Origin, is_unreachable
from .rows import Rows
from .sets import Follower, Results, Sets
from .space import Space
from .tables import TableInfo


class Binding:
    """What the classes are bound to; a view that opened from its cache asks the origin later."""

    def __init__(self, space: Space, entities: Mapping[str, ViewClass]) -> None:
        self._space = space
        self._entities = entities
        self._links: dict[ViewClass, list[Link]] = {}
        self._is_reached = False
        self._reaching = asyncio.Lock()

    async def open(self) -> None:
        """Bind the classes to what is known of the tables, or to what the origin says of them."""
        remembered: Tables = await self._space.cache.tables()
        names = self._table_names()
        is_enough = all(name in remembered for name in names)
        if self._space.origin is None or self._space.mode in (Mode.OFFLINE, Mode.PREFER_CACHE):
            if is_enough:
                self._bind(remembered)
                return await self._register({})
            if self._space.origin is None:
                unknown = next(name for name in names if name not in remembered)
                raise NeverLoaded(
                    f"The cache knows nothing of table {unknown!r}: "
                    "open the view once with its origin."
                )
        try:
            await self.reach()
        except Exception as error:
            if not (self._space.mode is Mode.FALLBACK and is_enough and is_unreachable(error)):
                raise
            self._space.note_outage(error)
            self._bind(remembered)
            await self._register({})
        return None

    def _table_names(self) -> list[str]:
        for name, entity in self._entities.items():
            if entity.table is None:
                raise ViewMismatch(f'{name} has no table: class {name}(ViewObject, table="...").')
        own = [entity.table for entity in self._entities.values() if entity.table]
        return list(dict.fromkeys([*own, *through_tables(self._entities.values())]))

    async def reach(self) -> Origin:
        """The origin, with its tables compared with what is known of them."""
        if self._space.origin is None:
            raise ValueError("This view has no origin.")
        if not self._is_reached:
            async with self._reaching:
                if not self._is_reached:
                    await self._reflect(self._space.origin)
                    self._is_reached = True
        return self._space.origin

    async def _reflect(self, origin: Origin) -> None:
        found = await origin.tables(self._table_names())
        tables = {name: info for name, (info, _) in found.items()}
        self._bind(tables, {name: table for name, (_, table) in found.items()})
        _check_types(origin.dal, self._entities)
        await self._register(tables)

    async def _register(self, tables: Tables) -> None:
        rows = list(self._space.rows.values())
        shapes = [(one.entity.table, one.entity.fields) for one in rows]
        numbers = await self._space.cache.register(tables, shapes)
        for one, number in zip(rows, numbers, strict=True):
            one.number = number

    def _bind(self, tables: Tables, reflected: Mapping[str, Table] | None = None) -> None:
        """Go by these tables; raises ViewMismatch for what does not fit."""
        _check_fields(self._entities.values(), tables)
        links = find_links(self._entities, tables)
        rows = self._space.rows
        for entity in self._entities.values():
            info = tables[entity.table or ""]
            if entity not in rows:
                hints = hints_of(entity, self._entities)
                rows[entity] = Rows(self._space, entity, info, key_of(entity, info), hints)
                rows[entity].results = Results(rows[entity])
            rows[entity].adapt(info, (reflected or {}).get(entity.table or ""))
        if self._links and links != self._links:
            raise ViewMismatch("The foreign keys have changed: open another view.")
        if not self._links:
            self._follow(links)
        self._links = links

    def _follow(self, links: Mapping[ViewClass, list[Link]]) -> None:
        rows = self._space.rows
        for entity, some in links.items():
            for link in some:
                target = rows[link.target]
                sets = None if link.is_by_key else _sets(target, link)
                rows[entity].related[link.relation] = Follower(link, target, sets)


def _sets(target: Rows[Any], link: Link) -> Sets[Any]:
    """The sets of a link; several classes may have relations that go by the same columns."""
    for sets in target.sets:
        if isinstance(sets, Sets) and sets.relation == link.name:
            return sets
    return Sets(target, link)


def _check_fields(entities: Iterable[ViewClass], tables: Tables) -> None:
    """Raise ViewMismatch for fields without a column, and for a key without a field."""
    problems = []
    for entity in entities:
        info = tables[entity.table or ""]
        key = key_of(entity, info)
        missing = [name for name in entity.fields if info.column(name) is None]
        undeclared = [name for name in key if name not in entity.fields]
        problems += [f"{entity.__name__}.{name}: {_no_column(name, info)}" for name in missing]
        problems += [f"{entity.__name__}: declare {name}, of its key." for name in undeclared]
        if not key:
            problems.append(
                f"{entity.__name__}: {info.full_name} has no primary key: name one with "
                f'class {entity.__name__}(ViewObject, table="{info.full_name}", key=("...",)).'
            )
    if problems:
        raise ViewMismatch("\n".join(problems))


def _no_column(name: str, info: TableInfo) -> str:
    known = ", ".join(column.name for column in info.columns)
    return f"no column {name!r} in {info.full_name}. Columns: {known}."


def _check_types(dal: DataAccessLayer, entities: Mapping[str, ViewClass]) -> None:
    """Raise ViewMismatch for fields whose type is another than the column's, or lacks None."""
    models: list[type] = []
    for entity in entities.values():
        hints = hints_of(entity, entities)
        namespace = {
            "__annotations__": {name: hints[name] for name in entity.fields},
            "__module__": entity.__module__,
            "model_config": ConfigDict(arbitrary_types_allowed=True, protected_namespaces=()),
        }
        kind: Any = type(ReadEntity)
        models.append(kind(entity.__name__, (ReadEntity,), namespace, table=entity.table))
    try:
        check_entities(dal, models)
    except EntityMismatch as error:
        raise ViewMismatch("\n".join(error.problems)) from None
