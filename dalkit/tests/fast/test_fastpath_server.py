"""What the compiled path leaves on the server, and what it does when the schema changes."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from dalkit import DataAccessLayer, TransactionManager
from dalkit.data.engine import create_engine

from tests.fast.both_paths import described, outcome, path

PREPARED = "SELECT count(*) FROM pg_prepared_statements"
CACHE = 100  # asyncpg's statement_cache_size
CHANGING = sa.table(
    "changing", sa.column("a", sa.Numeric(asdecimal=False)), sa.column("id", sa.Integer)
)
READ = sa.select(CHANGING)
WRITE = sa.update(CHANGING).values(id=2).returning(CHANGING.c.a, CHANGING.c.id)


@pytest.fixture
async def single(paths_url: str) -> AsyncIterator[DataAccessLayer]:
    """One connection, so that every statement is on it."""
    dal, engine = DataAccessLayer(fast_path=True), create_engine(paths_url, pool_size=1)
    dal.use(engine)
    yield dal
    await engine.dispose()


@pytest.fixture
async def changing(paths_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection for changing the table `changing`, which has one row."""
    conn = await asyncpg.connect(paths_url)
    await conn.execute("CREATE TABLE changing AS SELECT 1.5::real AS a, 1 AS id")
    yield conn
    await conn.execute("DROP TABLE changing")
    await conn.close()


async def prepared(dal: DataAccessLayer) -> int:
    """The number of prepared statements on the connection."""
    async with dal.transaction() as tx:
        return int(await (await tx.get_dbapi_connection()).fetchval(PREPARED))


def different(number: int) -> sa.Select[Any]:
    """A statement like no other."""
    return sa.select(sa.literal(number).label(f"n{number}"))


async def test_many_statements_leave_no_more_than_asyncpg_keeps(single: DataAccessLayer) -> None:
    async with single.transaction() as tx:
        for number in range(300):
            assert await tx.fetch_value(different(number)) == number
    for number in range(300):
        async with single.transaction() as tx:
            assert await tx.fetch_value(different(number)) == number
    assert CACHE - 5 <= await prepared(single) <= CACHE + 5


async def test_columns_of_one_name_leave_no_statement_behind(single: DataAccessLayer) -> None:
    for number in range(150):
        twice = sa.select(sa.literal(1).label(f"n{number}"), sa.literal(2).label(f"n{number}"))
        await outcome(single, twice, fast=True)
    assert await prepared(single) <= 2 * CACHE + 5  # SQLAlchemy has a cache of its own


async def test_behind_pgbouncer_no_statement_is_left(paths_url: str) -> None:
    dal, engine = (
        DataAccessLayer(fast_path=True),
        create_engine(paths_url, pool_size=1, pgbouncer=True, statement_timeout=7),
    )
    dal.use(engine)
    for number in range(20):
        assert dal.compiled(different(number), None) is not None
        async with dal.transaction() as tx:
            assert await tx.fetch_value(different(number)) == number
            assert await tx.fetch_value(different(number)) == number
    assert await prepared(dal) == 0
    await engine.dispose()


REPLACED = """
ALTER TABLE changing ADD b numeric DEFAULT 2.25;
ALTER TABLE changing DROP a;
ALTER TABLE changing RENAME b TO a
"""
CHANGES = {
    "another type": ("ALTER TABLE changing ALTER a TYPE numeric(5, 3)", 1.5),
    "another column": ("ALTER TABLE changing ADD more text DEFAULT 'x'", 1.5),
    "a column in another place": (REPLACED, 2.25),
}


def is_stale(error: DBAPIError) -> bool:
    """Whether a prepared statement is not what the schema is any more."""
    cause = getattr(error.orig, "__cause__", None)
    return isinstance(cause, asyncpg.InvalidCachedStatementError)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("defer_begin", [True, False], ids=["before BEGIN", "after BEGIN"])
@pytest.mark.parametrize("statement", [READ, WRITE], ids=["reading", "writing"])
async def test_a_change_of_the_schema_costs_one_retry_at_most(
    single: DataAccessLayer,
    changing: asyncpg.Connection,
    change: str,
    defer_begin: bool,
    statement: Any,
) -> None:
    single.defer_begin = defer_begin
    async with single.transaction() as tx:
        assert await tx.fetch_value(statement) == 1.5
    await changing.execute(CHANGES[change][0])
    collided = 0
    for _ in range(3):
        tx = TransactionManager(None, single)
        try:
            found = await tx.fetch_value(statement)
        except DBAPIError as error:
            collided += is_stale(error) and tx.collided
        else:
            assert (type(found), found) == (float, CHANGES[change][1])
        finally:
            await tx.rollback()
    assert collided == (statement is WRITE or not defer_begin) * (change != "another column")


async def test_both_paths_notice_a_change_of_the_schema_alike(
    single: DataAccessLayer, changing: asyncpg.Connection
) -> None:
    kinds = []
    for fast, type_ in [(True, "numeric"), (False, "real")]:
        with path(single, fast=fast):
            async with single.transaction() as tx:
                await tx.fetch_all(WRITE)
            await changing.execute(f"ALTER TABLE changing ALTER a TYPE {type_}")
            with pytest.raises(DBAPIError) as caught:
                async with single.transaction() as tx:
                    await tx.fetch_all(WRITE)
            assert is_stale(caught.value)
            assert tx.collided
            kinds.append(described(caught.value))
    assert kinds[0] == kinds[1]
