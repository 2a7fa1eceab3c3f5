"""The console script says what it did in one line, and what is wrong in another."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, make_url
from typer.testing import CliRunner, Result

from dalkit.commands.db import db_commands
from dalkit.schema import typed_tables
from dalkit.settings import Settings

from tests.dev.processes import query
from tests.paths import PROJECT, SERVICE
from tests.schema.fixtures import AddMigration
from tests.service import cli


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, arguments, prog_name="my-service")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the developer's .env, and not where the tables of the tests would be written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENVIRONMENT", "testing")


def test_sync_and_status_have_three_messages_each(
    empty_database: str, add_migration: AddMigration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database)
    answers = []
    for step in ("status", "sync", "status", "sync", "add", "status", "sync"):
        if step == "add":
            add_migration("f00d0002")
        else:
            result = invoke("db", step)
            answers.append((result.exit_code, result.stdout.strip()))
    assert answers == [
        (4, "The database has no schema yet: run `my-service db sync`."),
        (0, "The database was created."),
        (0, "The database is up to date."),
        (0, "The database was already up to date."),
        (3, "The database is behind the migrations: run `my-service db sync`."),
        (0, "The database was upgraded."),
    ]


def test_the_tables_of_these_tests_are_not_written_again(
    empty_database: str, add_migration: AddMigration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whoever calls the script by hand, or forgets to say that this is no local service."""
    monkeypatch.delenv("ENVIRONMENT")
    monkeypatch.setenv("DATABASE_URL", empty_database)
    add_migration("f00d0002", body='op.execute("ALTER TABLE book ADD COLUMN pages int")')
    tables = SERVICE / "tables.py"
    before = tables.read_text()
    command = [sys.executable, "-m", "tests.service.cli", "db", "sync"]
    try:
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
        assert done.stdout == "The database was created.\n"
        assert tables.read_text() == before
    finally:
        tables.write_text(before)


def test_where_there_is_a_makefile_its_target_is_named(
    empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service's own command is not on the PATH of who types `make db ARGS=status`."""
    monkeypatch.setenv("DATABASE_URL", empty_database)
    for text, how in (("other:\n", "my-service db sync"), ("migrate: x\n", "make migrate")):
        (tmp_path / "Makefile").write_text(text)
        said = invoke("db", "status").stdout.strip()
        assert said == f"The database has no schema yet: run `{how}`."


@pytest.mark.parametrize("command", ["sync", "status", "tables"])
def test_a_database_that_takes_no_connections_is_one_line(
    command: str, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_url(empty_database)
    admin = url.set(database="postgres").render_as_string(hide_password=False)
    monkeypatch.setenv("DATABASE_URL", empty_database)
    query(admin, f'ALTER DATABASE "{url.database}" ALLOW_CONNECTIONS false')
    result = invoke("db", command)
    query(admin, f'ALTER DATABASE "{url.database}" ALLOW_CONNECTIONS true')
    assert result.exit_code == 1
    assert result.stderr == (
        f"PostgreSQL at {url.host}:{url.port}/{url.database}: "
        f'database "{url.database}" is not currently accepting connections\n'
    )


@pytest.mark.parametrize("command", ["sync", "status", "tables"])
def test_a_schema_that_the_role_may_not_look_into_is_not_taken_for_none(
    command: str, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if query(empty_database, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        pytest.skip("A superuser may look into any schema: use a role that is none.")
    monkeypatch.setenv("DATABASE_URL", empty_database)
    assert invoke("db", "sync").exit_code == 0
    query(empty_database, "REVOKE USAGE ON SCHEMA public FROM public, pg_database_owner")
    result = invoke("db", command)
    role = make_url(empty_database).username
    assert result.exit_code == 1
    assert result.stderr == (
        f"Role {role} may not look into schema public, which the migrations are recorded in: "
        f"GRANT USAGE ON SCHEMA public TO {role}.\n"
    )


@pytest.mark.parametrize("command", ["sync", "status", "tables"])
def test_a_missing_certificate_is_one_line(
    command: str, empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What production asks for, verify-full, looks for one in the home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", f"{empty_database}?sslmode=verify-full")
    result = invoke("db", command)
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("DATABASE_URL of ")
    assert line.endswith("Name the server's CA: &sslrootcert=/path/to/ca.crt, or system.")


@pytest.mark.parametrize("command", ["sync", "status", "tables"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"port": 1}, "127.0.0.1:1/{name} cannot be reached"),
        ({"host": "nowhere.invalid"}, "nowhere.invalid:"),
        ({"database": "missing_test"}, "createdb missing_test"),
        ({"username": "nobody", "password": "hunter2"}, "'nobody'"),
    ],
)
def test_an_unusable_database_is_one_line(
    server_url: URL,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    change: dict[str, Any],
    message: str,
) -> None:
    url = server_url.set(drivername="postgresql", **change)
    monkeypatch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
    result = invoke("db", command)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert message.format(name=server_url.database) in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "hunter2" not in result.output


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "DATABASE_URL is not set"),
        ("postgresql://u:hunter2@x@h/n", "@ as %40"),
        ("mysql://u:hunter2@h/n", "needs PostgreSQL"),
    ],
)
def test_an_unusable_url_is_one_line(
    monkeypatch: pytest.MonkeyPatch, url: str | None, message: str
) -> None:
    if url is not None:
        monkeypatch.setenv("DATABASE_URL", url)
    result = invoke("db", "sync")
    assert result.exit_code == 1
    sentence = result.output.removeprefix("The configuration cannot be used.\n").rstrip()
    assert message in sentence
    assert len(sentence.splitlines()) == 1
    assert "hunter2" not in result.output


def test_a_missing_alembic_ini_is_one_line(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database)
    monkeypatch.setenv("ALEMBIC_CONFIG", "/nowhere/alembic.ini")
    result = invoke("db", "sync")
    assert (result.exit_code, result.stderr) == (
        1,
        "No alembic.ini at /nowhere/alembic.ini: set ALEMBIC_CONFIG to its path.\n",
    )


@pytest.mark.usefixtures("anyio_backend")
def test_tables_are_written_and_compared(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", fresh_database)
    output = tmp_path / "tables.py"
    assert invoke("db", "tables", "--check", "--output", str(output)).exit_code == 1
    assert invoke("db", "tables", "--output", str(output)).exit_code == 0
    assert invoke("db", "tables", "--check", "--output", str(output)).exit_code == 0
    output.write_text(output.read_text() + "# edited\n")
    result = invoke("db", "tables", "--check", "--output", str(output))
    assert result.exit_code == 1
    assert "run `my-service db tables`" in result.stderr


def test_tables_are_not_written_from_a_database_that_is_behind(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database)
    result = invoke("db", "tables")
    assert result.exit_code == 1
    assert "run `my-service db sync` first" in result.stderr


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A file of typed tables that was written from an earlier revision."""
    file = tmp_path / "tables.py"
    file.write_text('metadata = sa.MetaData(info={"revision": "0000"})\n')
    return file


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ("local", "The database was created.\nWrote {}, which was behind the database.\n"),
        ("testing", "The database was created.\n"),
    ],
)
def test_sync_brings_the_typed_tables_up_to_date_in_development(
    empty_database: str, tables: Path, environment: str, message: str, quote: str
) -> None:
    tables.write_text(tables.read_text().replace('"', quote))
    values: dict[str, Any] = {"database_url": empty_database, "environment": environment}
    commands = db_commands(lambda: Settings(_env_file=None, **values), tables)
    result = CliRunner().invoke(commands, ["sync"])
    assert (result.exit_code, result.output) == (0, message.format(tables))
    assert ('"revision": "0001"' in tables.read_text()) is (environment == "local")


@pytest.mark.parametrize("ruff", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "",
        '# info={"revision": "0001"}, edited to propose a change',
        "# info={'revision': '0001'}, never formatted and edited",
    ],
)
def test_sync_leaves_tables_that_were_edited_or_that_are_somebody_s_own(
    monkeypatch: pytest.MonkeyPatch, empty_database: str, tables: Path, text: str, ruff: bool
) -> None:
    if not ruff:
        monkeypatch.setattr(typed_tables, "find_spec", lambda name: None)
    values: dict[str, Any] = {"database_url": empty_database, "environment": "local"}
    settings = Settings(_env_file=None, **values)
    tables.write_text(text)
    commands = db_commands(lambda: settings, tables)
    assert CliRunner().invoke(commands, ["sync"]).exit_code == 0
    assert tables.read_text() == text
    tables.unlink()
    assert CliRunner().invoke(commands, ["sync"]).exit_code == 0
    assert not tables.exists()
