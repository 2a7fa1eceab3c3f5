"""A mistake in a migration is told in one line: where it is, and what."""

from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_cursor

from dalkit.data.engine import create_engine
from dalkit.schema import SyncError, SyncResult, sync

from tests.schema.fixtures import AddMigration, Upgrade, upgrade_over

pytestmark = pytest.mark.slow

UNDONE = "failed, and nothing of its transaction was applied"
HEAD = 'revision = "0002"\ndown_revision = "0001"\n'


async def test_a_mistake_is_one_line_however_alembic_is_started(
    upgrade: Upgrade, add_migration: AddMigration, empty_database: str
) -> None:
    add_migration("0002", body='op.execute("CREATE TABLE made ()")\n    op.add_colum("book")')
    said = await upgrade()
    error = "AttributeError: module 'alembic.op' has no attribute 'add_colum'"
    last = said.splitlines()[-1]  # alembic logs what it does above it
    assert last.endswith(f"0002_test.py:13 {UNDONE}: {error}")
    assert "Traceback" not in said
    connection = await asyncpg.connect(empty_database)
    try:
        assert await connection.fetchval("SELECT to_regclass('made')") is None
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('op.execute("ALTER TABLE book DROP nope")', 'column "nope" of relation "book" does not '),
        ('open("nowhere.csv")', "FileNotFoundError: [Errno 2] No such file or directory: 'nowhere"),
        ("raise AssertionError", "AssertionError"),
    ],
)
async def test_the_reason_is_the_server_s_or_python_s(
    add_migration: AddMigration, empty_database: str, body: str, reason: str
) -> None:
    add_migration("0002", body=body)
    with pytest.raises(SyncError) as failed:
        await sync(empty_database)
    assert str(failed.value).startswith(f"0002_test.py:12 {UNDONE}: {reason}")
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "op.create_table", "0002.py:3 cannot be imported: NameError: name 'op' is not "),
        (HEAD + "\n\ndef upgrade(:", "0002.py:5 cannot be imported: SyntaxError: "),
        (HEAD + "import nowhere", "0002.py:3 cannot be imported: ModuleNotFoundError: No module "),
        (HEAD.replace("0001", "0009"), "A migration has '0009' as its down_revision, which none "),
        (HEAD.replace("0001", "0002"), "The migrations are in no order: Self-loop is detected"),
    ],
)
@pytest.mark.filterwarnings("ignore:Revision 0009 referenced")
async def test_a_migration_that_cannot_be_imported_is_told(
    checkout: Path, empty_database: str, text: str, message: str
) -> None:
    (checkout / "migrations" / "versions" / "0002.py").write_text(text)
    with pytest.raises(SyncError) as failed:
        await sync(empty_database)
    assert str(failed.value).startswith(message)
    assert "\n" not in str(failed.value)


async def test_a_migration_may_set_its_isolation_level(
    add_migration: AddMigration, empty_database: str
) -> None:
    """PostgreSQL takes that before the first query only, so nothing is queried before it."""
    level = 'op.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")'
    add_migration("0002", body=level)
    longer = "op.execute(\"SET LOCAL statement_timeout = '10s'\")"
    add_migration("0003", body=f"{longer}\n    {level}")
    assert await sync(empty_database) is SyncResult.CREATED


async def test_a_table_that_exists_is_a_mistake_of_the_migration(
    add_migration: AddMigration, empty_database: str
) -> None:
    """Unless no migration is recorded: then the tables are older than the record."""
    assert await sync(empty_database) is SyncResult.CREATED
    add_migration("0002", body='op.execute("CREATE TABLE book ()")')
    with pytest.raises(SyncError) as failed:
        await sync(empty_database)
    assert str(failed.value) == f'0002_test.py:12 {UNDONE}: relation "book" already exists'


async def test_tables_without_a_record_are_told_over_a_caller_s_connection_too(
    empty_database: str, checkout: Path
) -> None:
    engine = create_engine(empty_database)
    async with engine.connect() as connection:
        await connection.exec_driver_sql("CREATE TABLE author ()")
        await connection.commit()
        with pytest.raises(SyncError, match=r"no record of .* alembic stamp"):
            await connection.run_sync(upgrade_over)
    await engine.dispose()


async def test_the_limits_are_not_asked_for_before_each_row(
    add_migration: AddMigration, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    execute: Any = AsyncAdapt_asyncpg_cursor.execute

    def note(self: AsyncAdapt_asyncpg_cursor, operation: Any, parameters: Any = None) -> Any:
        sent.append(operation)
        return execute(self, operation, parameters)

    rows = "for n in range(50):\n        op.execute(f\"INSERT INTO author (name) VALUES ('{n}')\")"
    add_migration("0002", body=rows)
    monkeypatch.setattr(AsyncAdapt_asyncpg_cursor, "execute", note)
    assert await sync(empty_database) is SyncResult.CREATED
    inserts = [n for n, one in enumerate(sent) if one.startswith("INSERT INTO author")]
    assert len(inserts) == 50
    assert inserts == list(range(inserts[0], inserts[0] + 50))
