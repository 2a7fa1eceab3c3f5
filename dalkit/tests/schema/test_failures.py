"""A mistake in a migration is told in one line: where it is, and what."""

from pathlib import Path

import asyncpg
import pytest

from dalkit.schema import SyncError, sync

from tests.schema.fixtures import AddMigration, Upgrade

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
