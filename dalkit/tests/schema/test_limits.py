"""The limits of migrations, however alembic is started, and what `concurrently` does beside."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from alembic import command

from dalkit.schema import SyncError, sync

from tests.schema.fixtures import AddMigration, Alembic, InProcess, Upgrade

pytestmark = pytest.mark.slow

LIMITS = "SELECT current_setting('lock_timeout') || ' ' || current_setting('statement_timeout')"
NOTE = f'op.execute("INSERT INTO noted {LIMITS}")'
SLOW = 'op.execute("CREATE TABLE slow (a int)")\n    op.execute("SELECT pg_sleep(30)")'
INDEX = """from dalkit.schema import concurrently
    with concurrently("uq_t_a"):
        options = {"if_not_exists": True, "postgresql_concurrently": True}
        op.create_index("uq_t_a", "t", ["a"], unique=True, **options)"""


@pytest.fixture
async def other(empty_database: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody else's connection."""
    connection = await asyncpg.connect(empty_database)
    yield connection
    await connection.close()


async def test_the_limits_are_the_same_however_alembic_is_started(
    upgrade: Upgrade, add_migration: AddMigration, other: asyncpg.Connection
) -> None:
    add_migration("0002", body=f'op.execute("CREATE TABLE noted (limits text)")\n    {NOTE}')
    assert await upgrade() == ""
    assert await other.fetchval("SELECT limits FROM noted") == "5s 1min"


async def test_a_migration_that_takes_too_long_is_one_sentence_and_undone(
    upgrade: Upgrade, add_migration: AddMigration, checkout: Path, other: asyncpg.Connection
) -> None:
    env = checkout / "migrations" / "env.py"
    env.write_text(env.read_text().replace("Settings)", "Settings, statement_timeout=0.2)"))
    add_migration("0002", body=SLOW)
    message = (
        "0002_test.py:13 was stopped by statement_timeout, 200ms, and nothing of its transaction "
        "was applied. Put what locks nothing, such as CREATE INDEX CONCURRENTLY, into `with "
        'concurrently():`, or give it more time by `op.execute("SET LOCAL statement_timeout = '
        "'10min'\")` in it."
    )
    said = await upgrade()
    assert message in said
    assert "Traceback" not in said
    assert await other.fetchval("SELECT version_num FROM alembic_version") == "0001"
    assert await other.fetchval("SELECT to_regclass('slow')") is None


async def test_a_migration_may_take_more_time(
    add_migration: AddMigration, checkout: Path, empty_database: str
) -> None:
    env = checkout / "migrations" / "env.py"
    env.write_text(env.read_text().replace("Settings)", "Settings, statement_timeout=0.2)"))
    steps = ["SET LOCAL statement_timeout = '1min'", "SELECT pg_sleep(0.4)"]
    add_migration("0002", body="\n    ".join(f'op.execute("{step}")' for step in steps))
    await sync(empty_database)


@pytest.mark.parametrize(
    "steps",
    [
        ["SET LOCAL statement_timeout = '100ms'"],
        ["SET LOCAL statement_timeout = 0", "SELECT set_config('statement_timeout', '100', true)"],
        ["DO $$ BEGIN PERFORM set_config('statement_timeout', '0.1 s', false); END $$"],
    ],
)
async def test_the_limit_that_is_named_is_the_one_that_the_migration_has_set(
    add_migration: AddMigration, empty_database: str, steps: list[str]
) -> None:
    body = [f'op.execute("{step}")' for step in (*steps, "SELECT pg_sleep(30)")]
    add_migration("0002", body="\n    ".join(body))
    with pytest.raises(SyncError, match="stopped by statement_timeout, 100ms, and"):
        await sync(empty_database)


@pytest.mark.parametrize("ends", ["savepoint", "migration"])
async def test_what_was_set_for_a_part_is_not_named_after_it(
    add_migration: AddMigration, checkout: Path, empty_database: str, ends: str
) -> None:
    env = checkout / "migrations" / "env.py"
    env.write_text(env.read_text().replace("Settings)", "Settings, statement_timeout=0.2)"))
    part = ["SAVEPOINT here", "SET LOCAL statement_timeout = '1min'", "SELECT 1"]
    after = ["ROLLBACK TO SAVEPOINT here", "SELECT pg_sleep(30)"]
    scripts = [part + after] if ends == "savepoint" else [part, after[1:]]
    for number, steps in enumerate(scripts, 2):
        body = [f'op.execute("{step}")' for step in steps]
        add_migration(f"{number:04}", body="\n    ".join(body))
    with pytest.raises(SyncError, match="stopped by statement_timeout, 200ms, and"):
        await sync(empty_database)


async def test_a_migration_may_go_on_after_a_statement_that_fails(
    add_migration: AddMigration, empty_database: str
) -> None:
    """With a savepoint of its own, in SQL; the limits cannot be asked for meanwhile."""
    steps = [
        'op.execute("SAVEPOINT here")',
        "from contextlib import suppress",
        "from sqlalchemy.exc import DBAPIError",
        'with suppress(DBAPIError):\n        op.execute("SELECT 1 / 0")',
        'op.execute("ROLLBACK TO SAVEPOINT here")',
        'op.execute("CREATE TABLE made ()")',
    ]
    add_migration("0002", body="\n    ".join(steps))
    await sync(empty_database)


async def test_a_table_in_use_is_one_sentence_too(
    add_migration: AddMigration, checkout: Path, empty_database: str, other: asyncpg.Connection
) -> None:
    await sync(empty_database)
    env = checkout / "migrations" / "env.py"
    env.write_text(env.read_text().replace("Settings)", "Settings, lock_timeout=0.2)"))
    add_migration("0002", body='op.execute("ALTER TABLE book ADD COLUMN pages int")')
    async with other.transaction():
        await other.execute("SELECT FROM book")
        with pytest.raises(SyncError) as failed:
            await sync(empty_database)
    assert str(failed.value).startswith(
        "0002_test.py:12 was stopped by lock_timeout: it waited 200ms for a table that a running "
        "transaction holds, and nothing of its transaction was applied."
    )
    assert await other.fetchval("SELECT version_num FROM alembic_version") == "0001"


async def test_who_cancels_a_migration_is_not_taken_for_a_limit(
    add_migration: AddMigration, empty_database: str, other: asyncpg.Connection
) -> None:
    add_migration("0002", body='op.execute("SELECT pg_sleep(30)")')
    running = asyncio.create_task(sync(empty_database))
    # When the query is shown it may be prepared only, and canceled in vain.
    asleep = "datname = current_database() AND wait_event = 'PgSleep'"
    async with asyncio.timeout(60):
        while not await other.fetchval(
            f"SELECT bool_or(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE {asleep}"
        ):
            await asyncio.sleep(0.01)
    with pytest.raises(SyncError, match=r"0002_test\.py:12 was canceled by an administrator"):
        await running


async def test_limits_hold_but_for_what_runs_concurrently(
    add_migration: AddMigration, in_process: InProcess, other: asyncpg.Connection
) -> None:
    """Before, within and after the block, and in the next migration."""
    steps = [
        "from dalkit.schema import concurrently",
        'op.execute("CREATE TABLE noted (limits text)")',
        NOTE,
        f"with concurrently():\n        {NOTE}",
        NOTE,
    ]
    add_migration("0002", body="\n    ".join(steps))
    add_migration("0003", body=NOTE)
    await in_process(command.upgrade, "head")
    noted = [row["limits"] for row in await other.fetch("SELECT limits FROM noted")]
    assert noted == ["5s 1min", "0 0", "5s 1min", "5s 1min"]


def test_concurrently_has_sql_on_paper(add_migration: AddMigration, alembic: Alembic) -> None:
    add_migration("0002", body=INDEX)
    sql = alembic("upgrade", "0001:0002", "--sql", url="").stdout
    lines = [line for line in sql.splitlines() if line and not line.startswith("--")]
    assert lines == [
        "SET lock_timeout = '5000ms';",
        "SET statement_timeout = '60000ms';",
        "BEGIN;",
        "COMMIT;",
        "SET lock_timeout = 0;",
        "SET statement_timeout = 0;",
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS uq_t_a ON t (a);",
        "SET lock_timeout = '5000ms';",
        "SET statement_timeout = '60000ms';",
        "BEGIN;",
        "UPDATE alembic_version SET version_num='0002' WHERE alembic_version.version_num = '0001';",
        "COMMIT;",
    ]


async def test_an_index_that_could_not_be_built_is_dropped_and_built_by_the_next_run(
    add_migration: AddMigration, empty_database: str, other: asyncpg.Connection
) -> None:
    await sync(empty_database)
    await other.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1)")
    add_migration("0002", body=INDEX)
    with pytest.raises(SyncError) as failed:
        await sync(empty_database)
    assert str(failed.value) == (
        'The index uq_t_a could not be built (could not create unique index "uq_t_a"), and what is '
        "there of it is not valid: make the rows differ that have the same values, then migrate "
        "again, which drops it and builds it anew."
    )
    is_valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('uq_t_a')"
    assert await other.fetchval(is_valid) is False
    await other.execute("TRUNCATE t")
    await sync(empty_database)
    assert await other.fetchval(is_valid) is True


async def test_an_index_that_is_valid_stays(
    add_migration: AddMigration, empty_database: str, other: asyncpg.Connection
) -> None:
    await sync(empty_database)
    await other.execute("CREATE TABLE t (a int); CREATE UNIQUE INDEX uq_t_a ON t (a)")
    number = await other.fetchval("SELECT 'uq_t_a'::regclass::oid")
    add_migration("0002", body=INDEX)
    await sync(empty_database)
    assert await other.fetchval("SELECT 'uq_t_a'::regclass::oid") == number


async def test_concurrently_needs_a_connection_without_a_transaction(
    add_migration: AddMigration, empty_database: str
) -> None:
    """Behind PgBouncer, or in a caller's own."""
    add_migration("0002", body=INDEX)
    with pytest.raises(SyncError, match="cannot run in a transaction that is open already"):
        await sync({"database_url": empty_database, "database_pgbouncer": True})
