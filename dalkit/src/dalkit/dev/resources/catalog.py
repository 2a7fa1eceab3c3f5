"""What PostgreSQL's catalog says about a table and those that it refers to."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import asyncpg

_RELATION = """
SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
       n.nspname = current_schema() AS is_default,
       format('%I.%I', n.nspname, c.relname) AS quoted,
       n.nspname || '.' || c.relname AS full
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_COLUMNS = """
SELECT a.attname::text AS name, a.atttypid::oid AS type, a.atttypmod AS modifier,
       a.attnotnull AS not_null, a.attndims AS dimensions, a.attidentity::text AS identity,
       a.attgenerated::text AS generated, a.attnum AS number,
       coalesce(pg_get_expr(d.adbin, d.adrelid), t.typdefault) AS default
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_CONSTRAINTS = """
SELECT conname::text AS name, contype::text AS kind, conkey AS keys, confkey AS theirs,
       confrelid::oid AS target, pg_get_expr(conbin, conrelid) AS check
FROM pg_constraint WHERE conrelid = $1 AND conparentid = 0 ORDER BY contype, conname
"""
_LEADING = """
SELECT DISTINCT a.attname::text FROM pg_index i
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE i.indrelid = $1
"""
_TYPE = """
SELECT t.oid, t.typname::text AS name, n.nspname::text AS schema, t.typtype::text AS kind,
       t.typnotnull AS not_null, t.typbasetype::oid AS base, t.typtypmod AS base_modifier,
       t.typndims AS dimensions, t.typrelid::oid AS relation, t.typdefault AS default,
       CASE WHEN t.typcategory = 'A' AND t.typlen = -1 THEN t.typelem::oid END AS element,
       coalesce(r.rngsubtype, m.rngsubtype)::oid AS subtype,
       ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder)
           AS labels,
       ARRAY(SELECT pg_get_expr(conbin, 0) FROM pg_constraint
             WHERE contypid = t.oid AND contype = 'c') AS checks
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_range r ON r.rngtypid = t.oid
LEFT JOIN pg_range m ON m.rngmultitypid = t.oid
WHERE t.oid = $1
"""


@dataclass(frozen=True, eq=False)
class Type:
    """A type as it is used: with its length, its elements, its fields."""

    name: str
    schema: str
    #: As in pg_type: b(ase), c(omposite), d(omain), e(num), r(ange), m(ultirange); a for an array.
    kind: str
    modifier: int = -1
    labels: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    not_null: bool = False
    #: Of an array's elements, of a range, or below a domain.
    inner: "Type | None" = None
    fields: "tuple[Column, ...]" = ()


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table or a field of a composite type."""

    name: str
    type: Type
    not_null: bool
    default: str | None = None
    is_generated: bool = False
    is_identity: bool = False

    @property
    def is_written(self) -> bool:
        """Whether a row can be given a value."""
        return not (self.is_generated or self.is_identity)

    @property
    def is_required(self) -> bool:
        """Whether a row has to be given a value."""
        return self.is_written and self.not_null and self.default is None


@dataclass(frozen=True)
class ForeignKey:
    """The columns that refer to others."""

    columns: tuple[str, ...]
    target: int
    theirs: tuple[str, ...]


@dataclass(eq=False)
class Relation:
    """A table or view."""

    oid: int
    schema: str
    name: str
    kind: str
    quoted: str
    is_default: bool
    columns: dict[str, Column] = field(default_factory=dict)
    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    #: Name of each check constraint, its columns and its expression.
    checks: dict[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    #: The columns that an index begins with.
    leading: frozenset[str] = frozenset()

    @property
    def is_view(self) -> bool:
        """Whether it is a view or a materialized view."""
        return self.kind in ("v", "m")

    @property
    def full_name(self) -> str:
        """The name that an entity says."""
        return self.name if self.is_default else f"{self.schema}.{self.name}"

    @cached_property
    def required_keys(self) -> tuple[ForeignKey, ...]:
        """The foreign keys without which there is no row."""
        return tuple(
            key
            for key in self.foreign_keys
            if all(self.columns[name].not_null for name in key.columns)
        )


class Catalog:
    """Reads relations and types, each once."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._relations: dict[int, Relation] = {}
        self._types: dict[tuple[int, int, int], Type] = {}

    async def find(self, name: str) -> Relation | None:
        """The relation `name` of the default schema, or `schema.name`."""
        found = await self._connection.fetch(
            _RELATION
            + "AND (n.nspname || '.' || c.relname = $1"
            + " OR n.nspname = current_schema() AND c.relname = $1) ORDER BY is_default DESC",
            name,
        )
        return await self._read(found[0]) if found else None

    async def names(self) -> list[str]:
        """The names of all relations, as `find` takes them."""
        rows = await self._connection.fetch(
            f"{_RELATION} AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
            " AND c.relname <> 'alembic_version'"
        )
        return [row["name" if row["is_default"] else "full"] for row in rows]

    async def relation(self, oid: int) -> Relation:
        """The relation with this oid."""
        if oid not in self._relations:
            rows = await self._connection.fetch(_RELATION + "AND c.oid = $1", oid)
            return await self._read(rows[0])
        return self._relations[oid]

    async def _read(self, row: Any) -> Relation:
        if row["oid"] in self._relations:
            return self._relations[row["oid"]]
        it = self._relations[row["oid"]] = Relation(**{k: v for k, v in row.items() if k != "full"})
        columns = await self._connection.fetch(_COLUMNS, it.oid)
        numbered = {one["number"]: one["name"] for one in columns}
        it.columns = {one["name"]: await self._column(one) for one in columns}
        foreign = []
        for one in await self._connection.fetch(_CONSTRAINTS, it.oid):
            names = tuple(numbered[number] for number in one["keys"] or () if number in numbered)
            if one["kind"] == "p":
                it.primary_key = names
            elif one["kind"] == "c":
                it.checks[one["name"]] = names, one["check"]
            elif one["kind"] == "f":
                theirs = await self._names(one["target"], one["theirs"])
                foreign.append(ForeignKey(names, one["target"], theirs))
        it.foreign_keys = tuple(foreign)
        leading = await self._connection.fetch(_LEADING, it.oid)
        it.leading = frozenset(one["attname"] for one in leading)
        return it

    async def _names(self, relation: int, numbers: list[int]) -> tuple[str, ...]:
        rows = await self._connection.fetch(_COLUMNS, relation)
        numbered = {row["number"]: row["name"] for row in rows}
        return tuple(numbered[number] for number in numbers)

    async def _column(self, row: Any) -> Column:
        type_ = await self._type(row["type"], row["modifier"], row["dimensions"])
        return Column(
            row["name"],
            type_,
            row["not_null"] or type_.not_null,
            None if row["generated"] else row["default"],
            bool(row["generated"]),
            bool(row["identity"]),
        )

    async def _type(self, oid: int, modifier: int = -1, dimensions: int = 0) -> Type:
        key = oid, modifier, dimensions
        if key not in self._types:
            row = (await self._connection.fetch(_TYPE, oid))[0]
            self._types[key] = await self._made(row, modifier, dimensions)
        return self._types[key]

    async def _made(self, row: Any, modifier: int, dimensions: int) -> Type:
        if row["element"] is not None:
            item = await self._type(row["element"], modifier)
            for _ in range(1, dimensions):
                item = Type("array", "pg_catalog", "a", inner=item)
            return Type(row["name"], row["schema"], "a", inner=item)
        inner: Type | None = None
        fields: list[Column] = []
        if row["kind"] == "d":
            inner = await self._type(row["base"], row["base_modifier"], row["dimensions"])
        elif row["subtype"]:
            inner = await self._type(row["subtype"])
        elif row["kind"] == "c":
            rows = await self._connection.fetch(_COLUMNS, row["relation"])
            fields = [await self._column(one) for one in rows]
        return Type(
            row["name"],
            row["schema"],
            row["kind"],
            modifier,
            labels=tuple(row["labels"]),
            checks=tuple(row["checks"]),
            not_null=row["not_null"],
            inner=inner,
            fields=tuple(fields),
        )
