"""Finds rows that the database takes, by trying, in transactions that are rolled back."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any

import asyncpg

from .catalog import Catalog, Column, ForeignKey, Relation
from .forms import NULL, Sample, candidates
from .shape import Shape

#: Values tried for a column, and combinations of them for a constraint.
MOST_VALUES, MOST_TRIES = 40, 4000
#: How many constraints in turn may ask for other values.
MOST_ROUNDS = 30
#: How many optional columns a test gives.
MOST_OPTIONAL = 6


@dataclass(eq=False)
class Step:
    """A row that has to be there before, and the statement that inserts it."""

    relation: Relation
    #: In a circle: the rows that refer to each other, the last one being this.
    inserts: list[tuple[Relation, dict[str, "str | Reference"]]] = field(default_factory=list)
    row: dict[str, str | None] = field(default_factory=dict)
    #: The columns that others refer to.
    used: list[str] = field(default_factory=list)

    @property
    def references(self) -> "list[Reference]":
        """The columns of other rows that it needs."""
        return [
            v for _, values in self.inserts for v in values.values() if isinstance(v, Reference)
        ]


@dataclass(frozen=True)
class Reference:
    """A column of a row that is there."""

    step: Step
    column: str

    @property
    def text(self) -> str:
        """Its value."""
        return self.step.row[self.column] or ""


@dataclass
class Rows:
    """What a test may send, and what becomes of it."""

    #: The rows to be there first, in their order.
    steps: list[Step]
    #: A new row; None when none was found.
    new: dict[str, Sample | Reference] | None = None
    #: What makes it another row; None when that takes more.
    other: dict[str, Sample] | None = None
    #: Whether the same row is refused a second time.
    conflicts: bool = False
    #: A column and another value for it.
    patch: tuple[str, Sample] | None = None
    #: Whether the table has rows without a test's doing.
    is_empty: bool = True


class Refused(Exception):
    """The database takes none of the rows."""


class Trial:
    """Tries rows on one connection; nothing of it stays."""

    def __init__(self, connection: asyncpg.Connection, catalog: Catalog) -> None:
        self._connection = connection
        self._catalog = catalog
        self._steps: dict[tuple[int, int], Step] = {}

    async def rows_for(self, shape: Shape) -> Rows:
        """Rows for the tests of a resource."""
        if shape.is_view:
            return Rows([])
        for copies in (1, 2):
            for optional in (MOST_OPTIONAL, 0):
                self._steps = {}
                outer = self._connection.transaction()
                await outer.start()
                try:
                    return await self._rows(shape, optional, copies)
                except Refused:
                    continue
                finally:
                    await outer.rollback()
        return Rows([])

    async def _rows(self, shape: Shape, optional: int, copies: int) -> Rows:
        relation = shape.relation
        before = await self._count(relation)
        fixed = await self._parents(relation, copies)
        tried = self._tried(shape, fixed, optional)
        given: dict[str, str | Reference] = dict(fixed)
        if shape.etag and shape.gives_etag:
            given |= _texts({"etag": next(candidates(shape.etag, ()))})
        pools = {one.name: self._pool(relation, one, key=shape.key_columns) for one in tried}
        has_rows = await self._count(relation) != 0 or before != 0
        chosen = await self._fill(relation, given, pools)
        sent = {name: one for name, one in chosen.items() if one is not NULL}
        new: dict[str, Sample | Reference] = {**fixed, **sent}
        await self._insert(relation, given | _texts(chosen))
        found = Rows(list(self._steps.values()), new, is_empty=not has_rows)
        found.other = await self._other(relation, given, pools, chosen)
        found.conflicts = await self._conflict(relation, given | _texts(chosen))
        found.patch = await self._patch(shape, given | _texts(chosen))
        return found

    def _tried(self, shape: Shape, fixed: Mapping[str, Any], optional: int) -> list[Column]:
        """The columns to give values: those that need one, and some others."""
        foreign = {name for key in shape.relation.foreign_keys for name in key.columns}
        writable = [one.column for one in shape.created if one.name not in fixed]
        needed = [one for one in writable if one.is_required]
        others = [one for one in writable if not one.is_required and one.name not in foreign]
        chosen = {one.name for one in (*needed, *others[:optional])}
        return [one for one in writable if one.name in chosen]

    def _pool(self, relation: Relation, column: Column, *, key: Sequence[str] = ()) -> list[Sample]:
        checks = [text for names, text in relation.checks.values() if column.name in names]
        pool = list(islice(candidates(column, checks), MOST_VALUES))
        if checks and not column.not_null:
            pool.append(NULL)
        if column.name in key:  # it is a part of a path
            plain = [one for one in pool if re.fullmatch(r"[\w.:\-]+", one.sql)]
            pool = plain or pool
        return pool

    async def _parents(self, relation: Relation, copies: int) -> dict[str, Reference]:
        """What the required foreign keys of a table are given; their rows are inserted."""
        given: dict[str, Reference] = {}
        count: dict[int, int] = {}
        for key in relation.required_keys:
            number = count[key.target] = count.get(key.target, 0) + 1
            step = await self._step(key, min(number, copies))
            for mine, theirs in zip(key.columns, key.theirs, strict=True):
                if mine not in given:
                    given[mine] = Reference(step, theirs)
                    step.used += [theirs] * (theirs not in step.used)
        return given

    async def _step(self, key: ForeignKey, number: int) -> Step:
        """The row that a foreign key refers to, inserted before if need be."""
        if (key.target, number) not in self._steps:
            relation = await self._catalog.relation(key.target)
            circle = await self._circle(relation)
            step = await (self._in_circle(circle) if circle else self._alone(relation, number))
            self._steps[key.target, number] = step
        return self._steps[key.target, number]

    async def _alone(self, relation: Relation, number: int) -> Step:
        given: dict[str, str | Reference] = dict(await self._parents(relation, 1))
        needed = [one for one in relation.columns.values() if one.is_required]
        checked = {name for names, _ in relation.checks.values() for name in names}
        optional = [relation.columns[name] for name in checked if relation.columns[name].is_written]
        for columns in (needed, [*needed, *optional]):
            pools = {c.name: self._pool(relation, c) for c in columns if c.name not in given}
            if number > 1:  # another one than the first
                pools = {name: [*pool[1:], pool[0]] for name, pool in pools.items()}
            with suppress(Refused):
                values = given | _texts(await self._fill(relation, given, pools))
                row = await self._insert(relation, values)
                return Step(relation, [(relation, values)], row)
        raise Refused

    async def _circle(self, relation: Relation) -> list[Relation]:
        """The tables that need each other's rows, this one being the last; empty if it does not."""
        reached = await self._reached(relation)
        if relation not in reached:
            return []
        others = [one for one in reached if one is not relation]
        return [one for one in others if relation in await self._reached(one)] + [relation]

    async def _reached(self, relation: Relation) -> list[Relation]:
        found: list[Relation] = []
        waiting = [relation]
        while waiting:
            for key in waiting.pop().required_keys:
                target = await self._catalog.relation(key.target)
                if target not in found:
                    found.append(target)
                    waiting.append(target)
        return found

    async def _in_circle(self, circle: list[Relation]) -> Step:
        """Rows that refer to each other, with keys that are chosen here, in one statement."""
        keys = {one.oid: self._keys_in(one, circle) for one in circle}
        inserts: list[tuple[Relation, dict[str, str | Reference]]] = []
        for one in circle:
            values: dict[str, str | Reference] = dict(keys[one.oid])
            for key in one.required_keys:
                for mine, theirs in zip(key.columns, key.theirs, strict=True):
                    if key.target in keys:
                        values[mine] = keys[key.target][theirs]
                    elif mine not in values:
                        step = await self._step(key, 1)
                        values[mine] = Reference(step, theirs)
                        step.used += [theirs] * (theirs not in step.used)
            needed = [c for c in one.columns.values() if c.is_required and c.name not in values]
            values |= _texts({c.name: self._pool(one, c)[0] for c in needed})
            inserts.append((one, values))
        step = Step(circle[-1], inserts)
        try:
            async with self._connection.transaction():
                row = await self._connection.fetchrow(statement_of(step, _literal, "*"))
        except asyncpg.PostgresError as error:
            raise Refused from error
        step.row = {name: None if v is None else str(v) for name, v in row.items()}
        return step

    def _keys_in(self, relation: Relation, circle: list[Relation]) -> dict[str, str]:
        """A value for each column that others in the circle refer to."""
        names = [
            name
            for one in circle
            for key in one.required_keys
            if key.target == relation.oid
            for name in key.theirs
        ]
        pools = {name: self._pool(relation, relation.columns[name]) for name in names}
        # Not the first, which the database may give to another row.
        chosen = {
            n: next((s for s in pool if s.sql == "1000"), pool[0]) for n, pool in pools.items()
        }
        return {name: one.sql for name, one in chosen.items()}

    async def _fill(
        self,
        relation: Relation,
        given: Mapping[str, "str | Reference"],
        pools: Mapping[str, Sequence[Sample]],
    ) -> dict[str, Sample]:
        """A value of its pool for each column, so that the row is taken; raises Refused."""
        chosen = {name: pool[0] for name, pool in pools.items() if pool}
        for _ in range(MOST_ROUNDS):
            error = await self._error(relation, {**given, **_texts(chosen)})
            if error is None:
                return chosen
            names = [n for n in await self._columns_at_fault(relation, error) if n in chosen]
            other = await self._better(relation, given, pools, chosen, names, error)
            if other is None:
                raise Refused(str(error))
            chosen = other
        raise Refused

    async def _better(
        self,
        relation: Relation,
        given: Mapping[str, "str | Reference"],
        pools: Mapping[str, Sequence[Sample]],
        chosen: dict[str, Sample],
        names: Sequence[str],
        error: asyncpg.PostgresError,
    ) -> dict[str, Sample] | None:
        """The values with others for some columns, for which it is not this error any more."""
        for combination in islice(_combinations([pools[name] for name in names]), MOST_TRIES):
            other = {**chosen, **dict(zip(names, combination, strict=True))}
            found = await self._error(relation, {**given, **_texts(other)})
            if found is None or _rank(found) > _rank(error):
                return other
        return None

    async def _other(
        self,
        relation: Relation,
        given: Mapping[str, "str | Reference"],
        pools: Mapping[str, Sequence[Sample]],
        chosen: dict[str, Sample],
    ) -> dict[str, Sample] | None:
        """What another row beside the first one has instead; it is inserted nowhere."""
        try:
            found = await self._fill(relation, given, _turned(pools, chosen))
        except Refused:
            return None
        return {name: value for name, value in found.items() if value != chosen[name]}

    async def _conflict(self, relation: Relation, values: Mapping[str, Any]) -> bool:
        error = await self._error(relation, values)
        return isinstance(error, asyncpg.UniqueViolationError | asyncpg.ExclusionViolationError)

    async def _patch(self, shape: Shape, values: Mapping[str, Any]) -> tuple[str, Sample] | None:
        """A column of the row that can be changed, and to what."""
        relation = shape.relation
        order = sorted(shape.patched, key=lambda one: (not one.form.is_exact, one.nullable))
        for one in order:
            if one.name in shape.foreign or isinstance(values.get(one.name), Reference):
                continue
            for sample in self._pool(relation, one.column):
                if sample is NULL or sample.sql == values.get(one.name):
                    continue
                value = literal(sample.sql, one.column)
                sql = f"UPDATE {relation.quoted} SET {quoted(one.name)} = {value}"
                if await self._error_of(sql) is None:
                    return one.name, sample
        return None

    async def _count(self, relation: Relation) -> int:
        return int(await self._connection.fetchval(f"SELECT count(*) FROM {relation.quoted}"))

    async def _insert(
        self, relation: Relation, values: Mapping[str, "str | Reference"]
    ) -> dict[str, str | None]:
        """Insert the row and return all of it as text."""
        columns = ", ".join(f"{quoted(name)}::text" for name in relation.columns)
        step = Step(relation, [(relation, dict(values))])
        row = await self._connection.fetchrow(statement_of(step, _literal, columns))
        return dict(row.items())

    async def _error(
        self, relation: Relation, values: Mapping[str, "str | Reference"]
    ) -> asyncpg.PostgresError | None:
        step = Step(relation, [(relation, dict(values))])
        return await self._error_of(statement_of(step, _literal))

    async def _error_of(self, sql: str) -> asyncpg.PostgresError | None:
        """What the database has against a statement, whose effect is undone."""
        savepoint = self._connection.transaction()
        await savepoint.start()
        try:
            await self._connection.execute(sql)
            await self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except asyncpg.PostgresError as error:
            return error
        finally:
            await savepoint.rollback()
        return None

    async def _columns_at_fault(
        self, relation: Relation, error: asyncpg.PostgresError
    ) -> list[str]:
        known: Any = error
        if getattr(known, "column_name", None):
            return [known.column_name]
        name = getattr(known, "constraint_name", None)
        if name in relation.checks:
            return list(relation.checks[name][0])
        definition = await self._connection.fetchval(
            "SELECT string_agg(text, ' ') FROM (SELECT pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conname = $1 AND conrelid = $2 UNION ALL SELECT pg_get_indexdef(i.indexrelid)"
            " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " WHERE c.relname = $1 AND i.indrelid = $2) AS known (text)",
            name or "",
            relation.oid,
        )
        if definition:
            described = definition.partition(" ON ")[2] or definition
            words = set(re.findall(r"\w+", described)) | set(re.findall(r'"([^"]+)"', described))
            return [one for one in relation.columns if one in words]
        domain = getattr(known, "data_type_name", None)
        of_domain = [n for n, c in relation.columns.items() if domain and c.type.name == domain]
        return of_domain or list(relation.columns)


def _rank(error: asyncpg.PostgresError) -> tuple[int, str]:
    """How far the database came: domains, then NOT NULL, checks by their names, unique keys."""
    known: Any = error
    name = getattr(known, "constraint_name", None) or ""
    match error:
        case asyncpg.CheckViolationError():
            return (0 if getattr(known, "data_type_name", None) else 2), name
        case asyncpg.NotNullViolationError():
            return 1, getattr(known, "column_name", None) or ""
        case asyncpg.UniqueViolationError() | asyncpg.ExclusionViolationError():
            return 3, name
        case asyncpg.ForeignKeyViolationError():
            return 4, name
    return 0, name


def _combinations(pools: Sequence[Sequence[Sample]]) -> Iterator[tuple[Sample, ...]]:
    """All of them, the ones in which little is changed first."""
    if len(pools) > 3:  # one after the other
        for i, pool in enumerate(pools):
            for one in pool:
                yield tuple(one if i == j else other[0] for j, other in enumerate(pools))
    yield from product(*pools)


def _turned(
    pools: Mapping[str, Sequence[Sample]], chosen: Mapping[str, Sample]
) -> dict[str, list[Sample]]:
    """The pools with what was chosen in front, so that little is changed."""
    return {
        name: [chosen[name], *(one for one in pool if one != chosen[name])]
        for name, pool in pools.items()
    }


def _texts(chosen: Mapping[str, Sample]) -> "dict[str, str | Reference]":
    return {name: one.sql for name, one in chosen.items() if one is not NULL}


def quoted(name: str) -> str:
    """A name as SQL."""
    plain = re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in _RESERVED
    return name if plain else '"' + name.replace('"', '""') + '"'


_RESERVED = frozenset(
    re.findall(
        r"\w+",
        """
        all analyse analyze and any array as asc asymmetric authorization binary both case
        cast check collate collation column concurrently constraint create cross
        current_catalog current_date current_role current_schema current_time
        current_timestamp current_user default deferrable desc distinct do else end except
        false fetch for foreign freeze from full grant group having ilike in initially inner
        intersect into is isnull join lateral leading left like limit localtime
        localtimestamp natural not notnull null offset on only or order outer overlaps
        placing primary references returning right select session_user similar some symmetric
        system_user table tablesample then to trailing true union unique user using variadic
        verbose when where window with
        """,
    )
)


def _literal(value: "str | Reference", column: Column) -> str:
    return literal(value.text if isinstance(value, Reference) else value, column)


def literal(text: str, column: Column) -> str:
    """A text as SQL; PostgreSQL gives it the type of its column."""
    is_number = column.type.name in _NUMBERS and re.fullmatch(r"-?\d+(\.\d+)?", text)
    return text if is_number else "'" + text.replace("'", "''") + "'"


_NUMBERS = {"int2", "int4", "int8", "numeric", "float4", "float8"}


def statement_of(step: Step, shown: Any, returning: str = "") -> str:
    """The INSERT of a step, or of all that refer to each other; `shown` makes SQL of a value."""
    parts = [_insert(relation, values, shown) for relation, values in step.inserts]
    last = parts[-1] + (f" RETURNING {returning}" if returning else "")
    named = [f"row_{i} AS ({part})" for i, part in enumerate(parts[:-1], 1)]
    return f"WITH {', '.join(named)} {last}" if named else last


def _insert(relation: Relation, values: Mapping[str, Any], shown: Any) -> str:
    table = quoted(relation.name)
    if not relation.is_default:
        table = f"{quoted(relation.schema)}.{table}"
    if not values:
        return f"INSERT INTO {table} DEFAULT VALUES"
    columns = ", ".join(map(quoted, values))
    of_system = any(relation.columns[name].is_identity for name in values)
    overriding = " OVERRIDING SYSTEM VALUE" if of_system else ""
    written = ", ".join(shown(of, relation.columns[name]) for name, of in values.items())
    return f"INSERT INTO {table} ({columns}){overriding} VALUES ({written})"
