"""What PostgreSQL's catalog says about relations, columns, types, constraints and indexes.

Six statements, however many schemas and tables there are. Every name is qualified and every
expression comes out qualified, so that the answer is the same under any search_path.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import DDL, Executable, Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from . import catalog_sql as sql

Rows = Sequence[Row[Any]]

#: Executed as DDL, because that also makes SQLAlchemy's dialect forget, on every connection of the
#: engine, the statements and types that asyncpg prepared before: they may have changed.
_PREPARE: Executable = DDL(  # type: ignore[no-untyped-call]
    "SELECT set_config('search_path', '', true), set_config('jit', 'off', true)"
)


@dataclass(frozen=True)
class Relation:
    """A table, view, materialized view, foreign table or partition."""

    oid: int
    schema: str
    name: str
    kind: str
    comment: str | None
    #: The table that this is a partition of, at the top.
    root: int | None

    @property
    def qualified(self) -> str:
        """`schema.name`."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Catalog:
    """The rows that tables are built from; `relations` are those that shall become tables."""

    relations: Sequence[Relation]
    partitions: Sequence[Relation]
    columns: Rows
    types: Rows
    constraints: Rows
    indexes: Rows


async def read_relations(
    conn: AsyncConnection, schemas: Sequence[str]
) -> dict[str, list[Relation]]:
    """The relations of each schema; a schema that does not exist is not in the answer."""
    await conn.execute(_PREPARE)
    found: dict[str, list[Relation]] = {}
    for row in await conn.execute(text(sql.RELATIONS), {"schemas": list(schemas)}):
        relations = found.setdefault(row.schema, [])
        if row.oid is not None:
            relations.append(Relation(*row))
    return found


async def read_catalog(
    conn: AsyncConnection, relations: Sequence[Relation], partitions: Sequence[Relation]
) -> Catalog:
    """Everything about these relations, and what errors may say about their partitions."""
    oids = [relation.oid for relation in relations]
    columns = await _rows(conn, sql.COLUMNS, oids)
    types = await _rows(conn, sql.TYPES, sorted({row.type for row in columns} - {None}))
    constraints = await _rows(conn, sql.CONSTRAINTS, oids)
    indexes = await _rows(conn, sql.INDEXES, oids + [relation.oid for relation in partitions])
    return Catalog(relations, partitions, columns, types, constraints, indexes)


async def _rows(conn: AsyncConnection, statement: str, oids: list[int]) -> Rows:
    return (await conn.execute(text(statement), {"oids": oids})).all()
