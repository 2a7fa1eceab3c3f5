"""Foreign keys and indexes, made anew from what was reflected, are to PostgreSQL what they were."""

from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from dalkit import DataAccessLayer
from dalkit.data.engine import create_engine

TABLES = """
CREATE TABLE parent (a integer, b integer, PRIMARY KEY (a, b));
CREATE TABLE child (a integer, b integer, "B c" integer, name text, born date);
"""
FOREIGN_KEYS = [
    "FOREIGN KEY (a, b) REFERENCES parent ON DELETE SET NULL (b)",
    'FOREIGN KEY (a, "B c") REFERENCES parent ON DELETE SET NULL ("B c", a)',
    "FOREIGN KEY (a, b) REFERENCES parent ON DELETE SET DEFAULT (a) DEFERRABLE",
    "FOREIGN KEY (a, b) REFERENCES parent ON UPDATE CASCADE ON DELETE SET NULL",
    "FOREIGN KEY (a, b) REFERENCES parent MATCH FULL ON DELETE RESTRICT",
]
INDEXES = [
    "(name)",
    "(name DESC)",
    "(name DESC NULLS LAST)",
    "(name NULLS FIRST)",
    '(a DESC, "B c", born NULLS FIRST)',
    "(lower(name) DESC, a)",
    "((a + b) NULLS FIRST) INCLUDE (born) WHERE a > 0",
    "(name text_pattern_ops, a)",
    "(lower(name) text_pattern_ops)",
    "(name text_pattern_ops DESC)",
    "USING brin (born)",
    "USING hash (name)",
]


async def definitions(conn: asyncpg.Connection, relation: str) -> list[str]:
    """What PostgreSQL says about the foreign keys and the other indexes of `child`."""
    constraints = await conn.fetch(
        f"SELECT pg_get_constraintdef(oid) FROM pg_constraint"
        f" WHERE contype = 'f' AND conrelid = '{relation}'::regclass ORDER BY 1"
    )
    indexes = await conn.fetch(
        f"SELECT pg_get_indexdef(indexrelid) FROM pg_index"
        f" WHERE indrelid = '{relation}'::regclass ORDER BY 1"
    )
    return [row[0] for row in (*constraints, *indexes)]


@pytest.mark.parametrize(
    "ddl",
    [f"ALTER TABLE child ADD CONSTRAINT it {one}" for one in FOREIGN_KEYS]
    + [f"CREATE INDEX it ON child {one}" for one in INDEXES],
)
async def test_what_is_made_anew_is_the_same(fresh_database: str, ddl: str) -> None:
    engine: AsyncEngine = create_engine(fresh_database)
    try:
        async with engine.begin() as conn:
            driver: Any = (await conn.get_raw_connection()).driver_connection
            await driver.execute(TABLES + ddl)
            there = await definitions(driver, "child")
        dal = DataAccessLayer()
        await dal.reflect(engine, only=["parent", "child"])
        child = dal.get_table("child")
        async with engine.begin() as conn:
            await conn.execute(sa.text("DROP TABLE child"))
            await conn.run_sync(child.create)
            driver = (await conn.get_raw_connection()).driver_connection
            assert await definitions(driver, "child") == there
            assert len(there) == 1
    finally:
        await engine.dispose()
