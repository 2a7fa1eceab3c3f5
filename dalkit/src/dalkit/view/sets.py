"""Sets of rows: what a relation leads to from one object, and the rows of a statement."""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any, Generic, TypeVar

from ..reflection.reflection import collector_paused
from .cache_sql import RESULTS, Change
from .codec import DAMAGED, Key, dumps, key_text, loads, tagged
from .errors import Missing, NeverLoaded
from .links import Link
from .loader import Things
from .matching import are_exact, match
from .modes import Loaded, Mode
from .objects import NOTHING, ViewObject
from .origin import Query
from .rows import Rows
from .statements import Statement
from .tables import quoted

O = TypeVar("O", bound=ViewObject)  # noqa: E741
Members = tuple[O, ...]
Row = Sequence[Any]
#: The keys of the members of sets, by the key of each set.
Groups = dict[Key, list[Key]]


class KnownSets(Things["Members[O]"], Generic[O]):
    """Complete sets of rows of one class, each as of one time."""

    def __init__(self, rows: Rows[O], relation: str) -> None:
        super().__init__(rows.space)
        self.rows = rows
        self.relation = relation
        self.sets: dict[Key, tuple[Members[O], Loaded]] = {}
        rows.sets.append(self)

    @property
    def shape(self) -> int:
        """See Things."""
        return self.rows.number

    def known(self, key: Key) -> tuple[Members[O], Loaded] | None:
        """See Things."""
        return self.sets.get(key)

    def mark_stale(self, key: Key) -> None:
        """See Things."""
        members, loaded = self.sets[key]
        self.sets[key] = members, loaded.stale()

    def forget(self, key: Key) -> None:
        """Ask again: the set is not what it was."""
        self.sets.pop(key, None)

    def belongs(self, member: O, key: Key) -> bool:
        """Whether a row is still in a set, by its own values."""
        return True

    def adopt(self, groups: Groups, rows: Sequence[Row], at: float) -> None:
        """Make known these sets, which are the keys of their members, and the rows of them."""
        self.rows.adopt(rows, at)
        loaded = Loaded(self.rows, at, is_from_origin=True)
        object_of = self.rows.objects.get
        for key, keys in groups.items():
            members: Any = tuple(map(object_of, keys))
            if None in members:  # of a row it is known from a later time that it is gone
                members = tuple(filter(None, members))
            self.sets[key] = members, loaded

    def change(self, groups: Groups, rows: Sequence[Row], at: float) -> Change:
        """What the cache is to remember of them."""
        return Change(self.shape, at, self.rows.by_key(rows), self.relation, groups)

    async def find_cached(self, keys: Sequence[Key], *, is_stale: bool) -> None:
        """See Things. A set of which a row was lost is none."""
        found = await self.space.cache.sets(self.shape, self.relation, keys)
        with collector_paused():
            self.rows.adopt_cached(found.texts, is_stale=is_stale)
            by_text = {str(key_text(key)): key for key in keys}
            of = [by_text[str(text)] for text in found.keys]
            sets = list(zip(of, found.times, self._keys_of(found.members), strict=False))
            rest = self._adopt_whole(sets, is_stale=is_stale)
        if rest:  # of some rows nothing is known: they are gone, or were lost
            unknown = {*chain(*(one[2] for one in rest))} - self.rows.objects.keys()
            await self.rows.find_cached(list(unknown), is_stale=is_stale)
            absent = self.rows.absent
            there = [
                (key, at, [one for one in some if one not in absent]) for key, at, some in rest
            ]
            self._adopt_whole(there, is_stale=is_stale)

    def _keys_of(self, members: Sequence[Sequence[int | str]]) -> Sequence[Sequence[Key]]:
        """What the cache holds an integer for is the key; what is text has to be read."""
        if str not in set(map(type, chain.from_iterable(members))):
            return members
        try:
            return [[loads(str(one)) for one in some] for some in members]
        except DAMAGED as error:
            self.space.cache.broke(error)
            return ()

    def _adopt_whole(
        self, sets: Iterable[tuple[Key, float, Sequence[Key]]], *, is_stale: bool
    ) -> list[tuple[Key, float, Sequence[Key]]]:
        """Make known these sets, and return those that have a row of which nothing is known."""
        rest = []
        object_of, newest = self.rows.objects.__getitem__, self.rows.newest
        loaded: Loaded | None = None
        for key, at, keys in sets:
            try:
                members = tuple(map(object_of, keys))
            except KeyError:
                rest.append((key, at, keys))
                continue
            if newest > at:
                members = tuple(
                    one for one in members if one._loaded.at <= at or self.belongs(one, key)
                )
            if loaded is None or loaded.at != at:
                loaded = Loaded(self.rows, at, is_from_origin=False, is_stale=is_stale)
            known = self.sets.get(key)
            if known is None or known[1].at < at or not known[1].is_from_origin:
                self.sets[key] = members, loaded
        return rest


class Sets(KnownSets[O]):
    """The sets of a relation, by the values that its objects have in the columns it goes by."""

    def __init__(self, rows: Rows[O], link: Link) -> None:
        super().__init__(rows, link.name)
        self.link = link
        fields = rows.entity.fields
        is_direct = link.through is None and all(name in fields for name in link.matched)
        places = [fields.index(name) for name in link.matched] if is_direct else []
        self._key_of_row: Any = itemgetter(*places) if is_direct else None
        #: The key of the set that a row is in, by its own values, where these can tell.
        self.key_of: Any = None
        if is_direct and are_exact(rows.info, link.matched):
            self.key_of = attrgetter(*link.matched)
            rows.inbound.append(self)

    def belongs(self, member: O, key: Key) -> bool:
        """Not when the row was loaded later, and has moved."""
        return self.key_of is None or self.key_of(member) == key

    def described(self, key: Key) -> str:
        """Return `Author.books of 1`."""
        return f"{self.link.relation!r} of {key!r}"

    async def ask_origin(self, keys: list[Key]) -> None:
        """See Things."""
        at = time.time()
        origin = await self.space.reach()
        query, values = self.query(keys)
        rows = await origin.read(query, values)
        with collector_paused():
            groups = self.groups(keys, rows)
            self.adopt(groups, rows, at)
            if self.space.cache.is_there:
                self.space.save(self.change(groups, rows, at))

    def groups(self, keys: Sequence[Key], rows: Sequence[Row]) -> Groups:
        """The keys of the rows of each of these sets, in their order."""
        groups: dict[Key, list[Key]] = {key: [] for key in keys}
        if rows and len(rows[0]) > len(self.rows.entity.fields):
            of: Iterable[Key] = [keys[row[-1] - 1] for row in rows]
        else:
            of = map(self._key_of_row, rows)
        for member, key in sorted_by_key(zip(map(self.rows.key_of_row, rows), of, strict=True)):
            groups[key].append(member)
        if self.link.through is not None:  # a pair may be there twice
            return {key: list(dict.fromkeys(some)) for key, some in groups.items()}
        return groups

    def query(self, keys: Sequence[Key]) -> tuple[Query, list[list[Any]]]:
        """SELECT of all rows of these sets."""
        link, info, rows = self.link, self.rows.info, self.rows
        source, alias, matched_in = f"{info.sql} AS t", "t.", info
        if link.through is not None:
            pairs = " AND ".join(f"p.{quoted(a)} = t.{quoted(b)}" for a, b in link.joined)
            source += f" JOIN {link.through.sql} AS p ON {pairs}"
            alias, matched_in = "p.", link.through
        is_numbered = self._key_of_row is None
        found = match(matched_in, alias, link.matched, keys, is_numbered=is_numbered)
        sql = f"SELECT {rows.columns}{found.selected} FROM {source}"
        return found.query(sql, rows.entity.fields, rows.types), found.values


class Results(KnownSets[O]):
    """The rows of statements, by the canonical text and values of each."""

    def __init__(self, rows: Rows[O]) -> None:
        super().__init__(rows, RESULTS)
        self.statements: dict[Key, Statement] = {}

    def described(self, key: Key) -> str:
        """Return the statement."""
        return f"The result of {self.statements[key].sql!r}"

    async def ask_origin(self, keys: list[Key]) -> None:
        """See Things; each statement is sent alone."""
        for key in keys:
            at = time.time()
            origin = await self.space.reach()
            statement = self.statements[key]
            rows = await origin.read(self.query(statement), statement.values)
            groups = self.groups(key, rows)
            self.adopt(groups, rows, at)
            self.space.save(self.change(groups, rows, at))

    def groups(self, key: Key, rows: Sequence[Row]) -> Groups:
        """The result of one statement."""
        return {key: list(map(self.rows.key_of_row, rows))}

    def query(self, statement: Statement) -> Query:
        """The statement, of whose columns those of the class are taken."""
        return Query(statement.sql, self.rows.entity.fields, self.rows.types)


class Follower:
    """A relation of the objects of a view: it leads to rows by their key, or to sets."""

    def __init__(self, link: Link, target: Rows[Any], sets: Sets[Any] | None) -> None:
        self.link = link
        self.target = target
        self.sets: Any = sets
        self.is_many = link.relation.is_many
        self._values: Any = attrgetter(*link.own)

    def key(self, of: ViewObject) -> Key | None:
        """The values that the relation goes by; None when one is null."""
        values = self._values(of)
        if values is None or (len(self.link.own) > 1 and None in values):
            return None
        return values

    async def follow(self, of: ViewObject, mode: Mode | None, default: Any) -> Any:
        """What an awaited relation gives."""
        key = self.key(of)
        if self.is_many and key is not None and mode is None:  # the shortest way to what is known
            known = self.sets.sets.get(key)
            space = self.target.space
            if known is not None and space.is_live and space.accepts(known[1], space.mode):
                return known[0]
        try:
            found = await self._found(key, mode)
        except NeverLoaded:
            if default is NOTHING:
                raise
            return default
        if found is None and not self.link.may_be_none:
            raise Missing(f"{self.link.relation!r} of {of!r} leads to no row.")
        return found

    async def _found(self, key: Key | None, mode: Mode | None) -> Any:
        if key is None:
            self.target.space.check()
            return () if self.is_many else None
        if self.sets is None:
            return self.target.now(key, mode) or await self.target.get(key, mode)
        found = await self.sets.get(key, mode)
        return found if self.is_many else next(iter(found), None)

    def loaded(self, of: ViewObject) -> Loaded | None:
        """When what it leads to was loaded, if it was."""
        things: Any = self.target if self.sets is None else self.sets
        found = things.known(self.key(of))
        return found[1] if found else None

    async def load(self, objects: Iterable[ViewObject], mode: Mode | None) -> Iterator[Any]:
        """Load it for all of these at once, and return what it leads to."""
        keys = dict.fromkeys(key for one in objects if (key := self.key(one)) is not None)
        if self.sets is None:
            return iter(await self.target.get_many(keys, mode))
        return chain(*filter(None, await self.sets.get_many(keys, mode)))


def sorted_by_key(items: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Sort by the first of each; keys that have no order are compared as text."""
    found = list(items)
    try:
        found.sort(key=itemgetter(0))
    except TypeError:
        found.sort(key=lambda item: dumps(tagged(item[0])))
    return found
