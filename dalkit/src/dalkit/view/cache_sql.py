"""The statements that read and write a cache, in SQLite and in PostgreSQL.

Each operation is a generator of statements that is given their rows, so that SQLite can run it in a
thread as one short transaction, and PostgreSQL over the network.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, NamedTuple, TypeVar

from .codec import Key, dumps, key_text, rows_text
from .tables import TableInfo

T = TypeVar("T")
#: Statements with their values; each is answered with its rows.
Steps = Generator[tuple[str, Sequence[Any]], list[Any], T]
#: Raised to a new number when what follows changes: a cache of another format is not read.
FORMAT = 2
#: Seconds after which what a process has claimed may be loaded by others, should it hang.
LEASE = 40.0
#: Rows and sets that are written in one transaction, so that others need not wait long.
MOST_IN_A_WRITE = 2_000
#: What the results of statements are called in place of a relation.
RESULTS = "="

SCHEMA = (
    "CREATE TABLE tables (name text PRIMARY KEY, info text NOT NULL)",
    (
        "CREATE TABLE shapes (id {counter}, name text NOT NULL, fields text NOT NULL,"
        " UNIQUE (name, fields))"
    ),
    # The values of a row are JSON without brackets, so that those of many are joined by commas, and
    # read as one list. NULL: the origin has none with this key.
    (
        "CREATE TABLE rows (shape bigint NOT NULL, key {key} NOT NULL,"
        " at double precision NOT NULL, row text, PRIMARY KEY (shape, key)){option}"
    ),
    (
        "CREATE TABLE sets (shape bigint NOT NULL, relation text NOT NULL, key {key} NOT NULL,"
        " at double precision NOT NULL, members text NOT NULL, PRIMARY KEY (shape, relation, key))"
        "{option}"
    ),
    (
        "CREATE TABLE claims (shape bigint NOT NULL, relation text NOT NULL, key {key} NOT NULL,"
        " owner text NOT NULL, until double precision NOT NULL, PRIMARY KEY (shape, relation, key))"
        "{option}"
    ),
)


class FoundSets(NamedTuple):
    """Sets: their keys, the time of each, and the keys of its members, as the cache holds them.

    `texts` are times, and the values of one row or of several of that time one after the other;
    rows that are in none of the sets may be among them.
    """

    keys: Sequence[int | str]
    times: Sequence[float]
    members: Sequence[Sequence[int | str]]
    texts: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Dialect:
    """How lists are passed: as JSON, of which both databases make rows."""

    #: A list of keys as a table with a column `value`.
    keys: str
    #: A list of pairs as a table `e`, and the two.
    pairs: str
    first: str
    second: str
    #: The members of the set `s`, as `m`.
    members: str
    #: What FoundSets calls texts, of the rows of a shape with these keys.
    texts: "Callable[[int, Sequence[int | str]], Steps[list[Any]]]"


@dataclass
class Change:
    """What the origin has answered: rows of a shape, and complete sets of them."""

    shape: int
    at: float
    rows: Mapping[Key, Sequence[Any] | None] = field(default_factory=dict)
    relation: str = ""
    sets: Mapping[Key, Sequence[Key]] = field(default_factory=dict)
    claimed: Sequence[Key] = ()

    def parts(self) -> Iterator["Change"]:
        """The same in pieces, each of which may be written alone: the sets after their rows."""
        for rows in _pieces(self.rows):
            yield Change(self.shape, self.at, rows)
        for sets in _pieces(self.sets):
            yield Change(self.shape, self.at, {}, self.relation, sets)
        if self.claimed:
            yield Change(self.shape, self.at, {}, self.relation, {}, self.claimed)


def _pieces(of: Mapping[Key, T]) -> Iterator[Mapping[Key, T]]:
    if len(of) <= MOST_IN_A_WRITE:
        if of:
            yield of
        return
    items = iter(of.items())
    while piece := dict(islice(items, MOST_IN_A_WRITE)):
        yield piece


class Statements:
    """The statements, in the words of one of the databases."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._keys = f"(SELECT value FROM {dialect.keys})"

    def _key_list(self, number: int) -> str:
        return self._keys.replace("?", f"?{number}")

    def tables(self) -> Steps[list[Any]]:
        """Name and description of each table."""
        return (yield "SELECT name, info FROM tables", ())

    def registered(
        self, tables: Mapping[str, TableInfo], shapes: Sequence[tuple[str, tuple[str, ...]]]
    ) -> Steps[list[int] | None]:
        """The numbers of the shapes, when nothing has changed and all are there."""
        known = dict((yield "SELECT name, info FROM tables", ()))
        if any(known.get(name) != info.to_json() for name, info in tables.items()):
            return None
        found = yield "SELECT name, fields, id FROM shapes", ()
        numbers = {(name, fields): number for name, fields, number in found}
        wanted = [(name, dumps(list(fields))) for name, fields in shapes]
        return [numbers[one] for one in wanted] if numbers.keys() >= set(wanted) else None

    def register(
        self, tables: Mapping[str, TableInfo], shapes: Sequence[tuple[str, tuple[str, ...]]]
    ) -> Steps[list[int]]:
        """Forget what has changed; return the numbers of the shapes."""
        known = dict((yield "SELECT name, info FROM tables", ()))
        for name, info in tables.items():
            text = info.to_json()
            if known.get(name) != text:
                yield from self._forget_table(name, info.full_name)
                yield "INSERT INTO tables (name, info) VALUES (?1, ?2)", (name, text)
        numbers = []
        for name, fields in shapes:
            shape = (name, dumps(list(fields)))
            yield (
                "INSERT INTO shapes (name, fields) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                shape,
            )
            found = yield "SELECT id FROM shapes WHERE name = ?1 AND fields = ?2", shape
            numbers.append(found[0][0])
        return numbers

    def _forget_table(self, name: str, full_name: str) -> Steps[None]:
        shapes = "(SELECT id FROM shapes WHERE name = ?1)"
        for table in ("rows", "sets", "claims"):
            yield f"DELETE FROM {table} WHERE shape IN {shapes}", (name,)
        # A table of pairs is in the name of the relation.
        start = "substr(relation, 1, length(CAST(?1 AS text)) + 1) = CAST(?1 AS text) || '.'"
        yield f"DELETE FROM sets WHERE {start}", (full_name,)
        yield "DELETE FROM shapes WHERE name = ?1", (name,)
        yield "DELETE FROM tables WHERE name = ?1", (name,)

    def rows(self, shape: int, keys: Sequence[Key]) -> Steps[list[Any]]:
        """Key, time and text."""
        sql = f"SELECT key, at, row FROM rows WHERE shape = ?1 AND key IN {self._key_list(2)}"
        return (yield sql, (shape, _key_texts(keys)))

    def sets(self, shape: int, relation: str, keys: Sequence[Key]) -> Steps[FoundSets]:
        """See FoundSets."""
        sql = (
            "SELECT key, at, members FROM sets "
            f"WHERE shape = ?1 AND relation = ?2 AND key IN {self._key_list(3)}"
        )
        found = yield sql, (shape, relation, _key_texts(keys))
        members = _loads(f"[{','.join(one[2] for one in found)}]")
        wanted = list(dict.fromkeys(chain.from_iterable(members)))
        texts = (yield from self._dialect.texts(shape, wanted)) if wanted else []
        return FoundSets([one[0] for one in found], [one[1] for one in found], members, texts)

    def everything(self, shape: int, relation: str | None) -> Steps[list[Any]]:
        """Key, time and content of all rows, or of all sets of a relation."""
        if relation is None:
            return (yield "SELECT key, at, row FROM rows WHERE shape = ?1", (shape,))
        sql = "SELECT key, at, members FROM sets WHERE shape = ?1 AND relation = ?2"
        return (yield sql, (shape, relation))

    def save(self, change: Change, owner: str) -> Steps[None]:
        """Write rows and sets unless newer ones are there, and release what was claimed."""
        shape = change.shape
        if (yield "SELECT 1 FROM shapes WHERE id = ?1", (shape,)):
            if change.rows:
                yield from self._save_rows(change)
            if change.sets:
                yield from self._save_sets(change)
        if change.claimed:
            sql = (
                "DELETE FROM claims WHERE shape = ?1 AND relation = ?2 AND owner = ?3 "
                f"AND key IN {self._key_list(4)}"
            )
            yield sql, (shape, change.relation, owner, _key_texts(change.claimed))

    def _save_rows(self, change: Change) -> Steps[None]:
        there = {key: row for key, row in change.rows.items() if row is not None}
        absent = [[key_text(key), None] for key, row in change.rows.items() if row is None]
        dialect = self._dialect
        sql = (
            "INSERT INTO rows (shape, key, at, row) "
            f"SELECT CAST(?1 AS bigint), {dialect.first}, CAST(?2 AS double precision), "
            f"substr({dialect.second}, 2, length({dialect.second}) - 2) "
            f"FROM {dialect.pairs} WHERE true "
            "ON CONFLICT (shape, key) DO UPDATE SET at = excluded.at, row = excluded.row "
            "WHERE excluded.at >= rows.at"
        ).replace("?list", "?3")
        for pairs in (rows_text(there, list(there.values())) if there else "", dumps(absent)):
            if pairs not in ("", "[]"):
                yield sql, (change.shape, change.at, pairs)

    def _save_sets(self, change: Change) -> Steps[None]:
        texts = {
            key_text(key): [key_text(member) for member in members]
            for key, members in change.sets.items()
        }
        where = (change.shape, change.relation, dumps(list(texts)))
        dialect = self._dialect
        old = yield (
            (
                "SELECT key, members FROM sets WHERE shape = ?1 AND relation = ?2 "
                f"AND key IN {self._key_list(3)}"
            ),
            where,
        )
        sql = (
            "INSERT INTO sets (shape, relation, key, at, members) "
            f"SELECT CAST(?1 AS bigint), CAST(?2 AS text), {dialect.first}, "
            f"CAST(?3 AS double precision), {dialect.second} FROM {dialect.pairs} WHERE true "
            "ON CONFLICT (shape, relation, key) "
            "DO UPDATE SET at = excluded.at, members = excluded.members "
            "WHERE excluded.at >= sets.at"
        ).replace("?list", "?4")
        pairs = dumps([[key, dumps(members)] for key, members in texts.items()])
        yield sql, (change.shape, change.relation, change.at, pairs)
        by_text = {str(key): set(map(str, members)) for key, members in texts.items()}
        gone = [
            member
            for key, members in old
            for member in _loads(members)
            if str(member) not in by_text[str(key)]
        ]
        if gone:
            yield from self._forget_unless_in_a_set(change, gone)

    def _forget_unless_in_a_set(self, change: Change, keys: list[Any]) -> Steps[None]:
        """Drop rows that left a set, unless they are newer than this or in another set."""
        sql = (
            "DELETE FROM rows WHERE shape = ?1 AND at < ?2 "
            f"AND key IN {self._key_list(3)} AND key NOT IN (SELECT m.value FROM sets s "
            f"JOIN {self._dialect.members} WHERE s.shape = ?1)"
        )
        yield sql, (change.shape, change.at, dumps(keys))

    def claim(
        self, shape: int, relation: str, keys: Sequence[Key], since: float, owner: str
    ) -> Steps[tuple[list[str], list[str]]]:
        """The keys, as text, that are fresh, and those that the owner has claimed."""
        where = (shape, relation, _key_texts(keys))
        ours = f"shape = ?1 AND relation = ?2 AND key IN {self._key_list(3)}"
        found = yield f"SELECT DISTINCT owner FROM claims WHERE {ours}", where
        for (other,) in found:
            if _has_died(other):
                yield "DELETE FROM claims WHERE owner = ?1", (other,)
        now = time.time()
        values = self._dialect.keys.replace("?", "?3")
        yield (
            (
                "INSERT INTO claims (shape, relation, key, owner, until) "
                "SELECT CAST(?1 AS bigint), CAST(?2 AS text), value, CAST(?4 AS text), "
                f"CAST(?5 AS double precision) FROM {values} WHERE true "
                "ON CONFLICT (shape, relation, key) "
                "DO UPDATE SET owner = excluded.owner, until = excluded.until "
                "WHERE claims.until < ?6"
            ),
            (*where, owner, now + LEASE, now),
        )
        # Only now, when whoever had claimed it has written it and released it.
        table, name = ("sets", "AND relation = ?4 ") if relation else ("rows", "AND ?4 = '' ")
        sql = (
            f"SELECT key FROM {table} WHERE shape = ?1 {name}AND at >= ?2 "
            f"AND key IN {self._key_list(3)}"
        )
        found = yield sql, (shape, since, where[2], relation)
        fresh = [str(key) for (key,) in found]
        found = yield f"SELECT key FROM claims WHERE owner = ?4 AND {ours}", (*where, owner)
        mine = {str(key): key for (key,) in found}
        if needless := [mine.pop(key) for key in fresh if key in mine]:
            yield (
                f"DELETE FROM claims WHERE owner = ?4 AND {ours}",
                (
                    shape,
                    relation,
                    dumps(needless),
                    owner,
                ),
            )
        return fresh, list(mine)

    def forget(self, owner: str) -> Steps[None]:
        """Release everything that this owner has claimed."""
        yield "DELETE FROM claims WHERE owner = ?1", (owner,)


def _key_texts(keys: Sequence[Key]) -> str:
    return dumps([key_text(key) for key in keys])


def _loads(text: str) -> list[Any]:
    found: list[Any] = json.loads(text)
    return found


def _has_died(owner: str) -> bool:
    """Whether it was a process of this machine that is no more."""
    host, pid, _ = owner.split(" ")
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
