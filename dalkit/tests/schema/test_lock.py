"""Migrations run one at a time, and waiting for one neither hangs nor blocks others."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from dalkit.data.engine import create_engine
from dalkit.schema import SyncError, SyncResult, sync
from dalkit.schema.revisions import LOCK_KEY, migration_lock

from tests.schema.fixtures import AddMigration, Alembic

pytestmark = pytest.mark.slow

# Of this database: the server has others, in which the same tests may run.
HERE = "SELECT oid FROM pg_database WHERE datname = current_database()"
HOLDERS = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = ({HERE})"
MIGRATING = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'migration' "
    "AND datname = current_database()"
)


@pytest.fixture
async def other(empty_database: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody else's connection."""
    connection = await asyncpg.connect(empty_database)
    yield connection
    await connection.close()


async def waits(other: asyncpg.Connection) -> None:
    """Return when somebody has asked for the lock in vain, and pauses."""
    async with asyncio.timeout(60):
        while not await other.fetchval(f"{MIGRATING} AND query LIKE '%pg_sleep(%'"):
            await asyncio.sleep(0.01)


async def test_an_upgrade_waits_for_the_one_that_runs(
    other: asyncpg.Connection, empty_database: str
) -> None:
    await other.execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
    waiting = asyncio.create_task(sync(empty_database))
    await waits(other)
    assert not waiting.done()
    await other.execute(f"SELECT pg_advisory_unlock({LOCK_KEY})")
    assert await waiting is SyncResult.CREATED
    assert await other.fetchval(HOLDERS) == 0


async def test_alembic_s_command_waits_too(other: asyncpg.Connection, alembic: Alembic) -> None:
    await other.execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
    waiting = asyncio.create_task(asyncio.to_thread(alembic, "upgrade", "head"))
    await waits(other)
    await other.execute(f"SELECT pg_advisory_unlock({LOCK_KEY})")
    result = await waiting
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("Another migration is running") == 1


async def test_waiting_does_not_hold_up_an_index_that_is_built_concurrently(
    other: asyncpg.Connection, empty_database: str
) -> None:
    """CREATE INDEX CONCURRENTLY waits for old snapshots, such as that of a query that waits."""
    await other.execute("CREATE TABLE t (a int)")
    await other.execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
    waiting = asyncio.create_task(sync(empty_database))
    await waits(other)
    async with asyncio.timeout(10):
        await other.execute("CREATE INDEX CONCURRENTLY i ON t (a)")
    await other.execute(f"SELECT pg_advisory_unlock({LOCK_KEY})")
    await waiting


async def test_a_cancelled_upgrade_leaves_nothing_behind(
    other: asyncpg.Connection, empty_database: str
) -> None:
    await other.execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
    waiting = asyncio.create_task(sync(empty_database))
    await waits(other)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await other.execute(f"SELECT pg_advisory_unlock({LOCK_KEY})")
    async with asyncio.timeout(10):
        while await other.fetchval(MIGRATING):
            await asyncio.sleep(0.01)
    assert await sync(empty_database) is SyncResult.CREATED


async def test_waiting_has_an_end(other: asyncpg.Connection, empty_database: str) -> None:
    await other.execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
    engine = create_engine(empty_database)
    async with engine.connect() as connection:
        with pytest.raises(SyncError, match="pg_stat_activity"):
            await connection.run_sync(lambda it: migration_lock(it, wait=0).__enter__())
    await engine.dispose()


async def test_in_a_caller_s_transaction_the_lock_lasts_until_its_end(
    other: asyncpg.Connection, empty_database: str
) -> None:
    engine = create_engine(empty_database)
    async with engine.connect() as connection:
        async with connection.begin():
            await connection.run_sync(lambda it: migration_lock(it).__enter__())
            assert not await other.fetchval(f"SELECT pg_try_advisory_lock({LOCK_KEY})")
        assert await other.fetchval(f"SELECT pg_try_advisory_lock({LOCK_KEY})")
    await engine.dispose()


async def test_a_table_in_use_is_waited_for_only_a_moment(
    other: asyncpg.Connection,
    empty_database: str,
    add_migration: AddMigration,
    checkout: Path,
) -> None:
    await sync(empty_database)
    add_migration("f00d0002", body='op.execute("DROP TABLE book CASCADE")')
    env = checkout / "migrations" / "env.py"
    env.write_text(env.read_text().replace("Settings)", "Settings, lock_timeout=0.2)"))
    async with other.transaction():
        await other.execute("SELECT FROM book")
        before = time.monotonic()
        with pytest.raises(SyncError, match="Try again"):
            await sync(empty_database)
        assert time.monotonic() - before < 5
    assert await sync(empty_database) is SyncResult.UPGRADED
