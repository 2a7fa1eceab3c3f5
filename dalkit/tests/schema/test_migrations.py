"""The migrations go up and down, from the command line and from inside a running event loop."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest
from alembic import command
from sqlalchemy import URL, inspect, make_url, text

from dalkit.data.engine import create_engine
from dalkit.schema import NAMING_CONVENTION, SyncError, sync
from dalkit.schema.revisions import alembic_config, head_revision

from tests.paths import PROJECT
from tests.schema.fixtures import AddMigration, Alembic, InProcess, upgrade_over

pytestmark = pytest.mark.slow


async def tables_of(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'v') AND relname <> 'alembic_version'"
        )
    finally:
        await connection.close()
    return {row["relname"] for row in rows}


async def test_up_down_and_up_again(in_process: InProcess, empty_database: str) -> None:
    await in_process(command.upgrade, "head")
    migrated = await tables_of(empty_database)
    assert migrated
    await in_process(command.downgrade, "base")
    assert await tables_of(empty_database) == set()
    await in_process(command.upgrade, "head")
    assert await tables_of(empty_database) == migrated


async def test_autogenerate_has_nothing_to_say_after_an_upgrade(
    in_process: InProcess, checkout: Path
) -> None:
    await in_process(command.upgrade, "head")
    await in_process(command.check)
    await in_process(command.revision, "nothing to do", autogenerate=True, rev_id="probe")
    text = (checkout / "migrations" / "versions" / "probe_nothing_to_do.py").read_text()
    assert "op." not in text
    assert '"""Nothing to do."""' in text


def test_two_processes_may_upgrade_at_once(alembic: Alembic) -> None:
    with ThreadPoolExecutor() as threads:
        results = list(threads.map(alembic, ["upgrade"] * 2, ["head"] * 2))
    assert [result.returncode for result in results] == [0, 0], results


def test_sql_is_printed_without_a_database(alembic: Alembic) -> None:
    sql = alembic("upgrade", "head", "--sql", url="").stdout
    assert sql.startswith(
        "SET lock_timeout = '5000ms';\n\nSET statement_timeout = '60000ms';\n\nBEGIN;"
    )
    assert "INSERT INTO alembic_version" in sql


@pytest.mark.superuser("makes a role with a password")
async def test_any_password_works(
    alembic: Alembic, empty_database: str, superuser_url: URL | None
) -> None:
    assert superuser_url is not None
    password = "p%40@:/%(here)s \u00e9'"
    url = make_url(empty_database)
    administered = superuser_url.set(database=url.database)
    owner = await asyncpg.connect(administered.render_as_string(hide_password=False))
    await owner.execute(f"CREATE ROLE awkward LOGIN PASSWORD {_literal(password)}")
    try:
        await owner.execute(f'GRANT CREATE ON DATABASE "{url.database}" TO awkward')
        await owner.execute("GRANT CREATE ON SCHEMA public TO awkward")
        awkward = f"postgres://awkward:{quote(password, '')}@{url.host}:{url.port}/{url.database}"
        result = alembic("upgrade", "head", url=awkward)
        assert result.returncode == 0, result.stderr
    finally:
        await owner.execute("DROP OWNED BY awkward; DROP ROLE awkward")
        await owner.close()


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://u:hunter2@127.0.0.1:1/name", "127.0.0.1:1/name cannot be reached"),
        ("mysql://u:hunter2@127.0.0.1:1/name", "needs PostgreSQL"),
    ],
)
def test_a_bad_url_is_one_line_without_the_password(
    alembic: Alembic, url: str, message: str
) -> None:
    result = alembic("upgrade", "head", url=url)
    assert result.returncode != 0
    sentence = result.stderr.removeprefix("The configuration cannot be used.\n")
    assert message in sentence
    assert len(sentence.splitlines()) == 1
    assert "hunter2" not in result.stdout + result.stderr


async def test_a_caller_s_connection_is_used_inside_the_running_loop(empty_database: str) -> None:
    """What it migrates is undone by the caller's own rollback."""

    engine = create_engine(empty_database)
    async with engine.connect() as connection:
        async with connection.begin() as transaction:
            await connection.run_sync(upgrade_over)
            names = await connection.run_sync(lambda it: inspect(it).get_table_names())
            assert "alembic_version" in names
            await transaction.rollback()
        assert await connection.run_sync(lambda it: inspect(it).get_table_names()) == []
    await engine.dispose()
    assert await tables_of(empty_database) == set()


async def test_each_migration_commits_on_its_own(
    add_migration: AddMigration, empty_database: str
) -> None:
    """One that fails leaves those before it, and nothing of itself."""
    add_migration("f00d0002", body='op.execute("CREATE TABLE two ()")')
    broken = 'op.execute("CREATE TABLE three ()"); op.execute("SELECT 1/0")'
    add_migration("f00d0003", body=broken)
    with pytest.raises(SyncError, match="division by zero"):
        await sync(empty_database)
    tables = await tables_of(empty_database)
    assert "two" in tables
    assert "three" not in tables


async def test_names_follow_the_convention(fresh_database: str) -> None:
    connection = await asyncpg.connect(fresh_database)
    rows = await connection.fetch(
        "SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
        " AND contype <> 'n' AND conrelid <> 'alembic_version'::regclass"
        " UNION SELECT indexrelid::regclass::text FROM pg_index"
        " WHERE indrelid::regclass::text IN ('author', 'book')"
    )
    await connection.close()
    assert not _unconventional(row[0] for row in rows)


def _unconventional(names: Iterable[str]) -> list[str]:
    prefixes = "|".join(NAMING_CONVENTION)
    return [name for name in names if not re.match(rf"({prefixes})_\w+$", name)]


MESSAGES = {
    'say "hi" \\o/': 'Say "hi" \\o/.',
    "add price \u2013 in \u20ac, \u0441\u043d\u043e\u0432\u0430 # noqa": (
        "Add price \u2013 in \u20ac, \u0441\u043d\u043e\u0432\u0430 # noqa."
    ),
    "two\nlines\tand a \u202e turn\u200b": "Two lines and a turn.",
    f"{'very ' * 40}long": f"Very {'very ' * 39}long.",
}


async def test_a_new_migration_has_the_next_number_and_is_formatted(
    alembic: Alembic, checkout: Path
) -> None:
    """Without a database; what it is called does not break the file."""
    for number, (message, docstring) in enumerate(MESSAGES.items(), start=2):
        result = alembic("revision", "-m", message, url="")
        assert (result.returncode, result.stderr) == (0, ""), result.stdout
        [file] = (checkout / "migrations" / "versions").glob(f"000{number}_*.py")
        written = file.read_text()
        assert ast.get_docstring(ast.parse(written)) == docstring
        assert f'revision = "000{number}"' in written
        run_ruff("check", file)
        run_ruff("format --check", file)


async def test_a_new_migration_needs_no_ruff(
    in_process: InProcess, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ruff", None)
    await in_process(command.revision, "add price")
    written = (checkout / "migrations" / "versions" / "0002_add_price.py").read_text()
    assert "import sqlalchemy as sa" in written  # which is not used yet


@pytest.mark.parametrize("arguments", ["upgrade head", "revision -m third", "current"])
async def test_two_migrations_of_one_number_are_told(
    arguments: str, alembic: Alembic, add_migration: AddMigration, checkout: Path
) -> None:
    """Alembic by itself would leave out one of them, with a warning."""
    add_migration("0002")
    versions = checkout / "migrations" / "versions"
    text = (versions / "0002_test.py").read_text()
    (versions / "0002_other.py").write_text(text.replace("revision =", "revision: str ="))
    result = alembic(*arguments.split())
    assert result.returncode != 0
    told = result.stdout + result.stderr
    assert "Two migrations are number 0002, 0002_other.py and 0002_test.py" in told
    assert "Traceback" not in told
    with pytest.raises(SyncError, match="Two migrations are number 0002"):
        head_revision(alembic_config())


def run_ruff(command: str, file: Path) -> None:
    # As a service has it: the longest lines and letters of other scripts are the author's.
    options = ["--config", str(PROJECT / "pyproject.toml"), "--extend-ignore=E501,RUF002"]
    options = options if command == "check" else options[:2]
    arguments = [sys.executable, "-m", "ruff", *command.split(), *options, str(file)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


async def test_autogenerate_refuses_a_file_of_tables_that_is_behind(
    alembic: Alembic, add_migration: AddMigration, empty_database: str, checkout: Path
) -> None:
    """Not one that was edited since it was written from this very revision."""
    add_migration("0002", body='op.execute("CREATE TABLE two (id int PRIMARY KEY)")')
    await sync(empty_database)
    for arguments in (("revision", "--autogenerate", "-m", "drop two"), ("check",)):
        result = alembic(*arguments)
        assert result.returncode != 0
        assert "Traceback" not in result.stderr
        assert (
            "tables.py was written from revision 0001, and the database is at 0002"
            in (result.stderr.splitlines()[-1])
        )
    assert len(list((checkout / "migrations" / "versions").glob("*.py"))) == 2
    file = checkout / "tables.py"
    file.write_text(file.read_text().replace('"revision": "0001"', '"revision": "0002"'))
    result = alembic("revision", "--autogenerate", "-m", "drop two")
    assert result.returncode == 0, result.stderr
    written = checkout / "migrations" / "versions" / "0003_drop_two.py"
    assert 'op.drop_table("two")' in written.read_text()
    run_ruff("check", written)
    run_ruff("format --check", written)


async def test_limits_apply_to_a_caller_s_connection_and_end_with_the_migration(
    add_migration: AddMigration, empty_database: str, checkout: Path
) -> None:
    env = checkout / "migrations" / "env.py"
    env.write_text(env.read_text().replace("Settings)", "Settings, statement_timeout=0.2)"))
    add_migration("0002", body='op.execute("SELECT pg_sleep(30)")')

    engine = create_engine(empty_database, statement_timeout=60)
    async with engine.connect() as connection:
        with pytest.raises(SyncError, match=r"stopped by statement_timeout, 200ms"):
            await connection.run_sync(upgrade_over)
        limits = text(
            "SELECT current_setting('statement_timeout'), current_setting('lock_timeout')"
        )
        assert (await connection.execute(limits)).one() == ("1min", "0")
    await engine.dispose()
    with pytest.raises(SyncError, match="statement_timeout"):
        await sync(empty_database)
