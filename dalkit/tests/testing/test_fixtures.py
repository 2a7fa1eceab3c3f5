"""The fixtures of conftest.py can be overridden, and the switches of the database work."""

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import URL

from dalkit.testing.databases import create_database, drop_database, named

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
OVERRIDES = """
import json, os
import pytest
from tests.conftest import *

@pytest.fixture(scope="session")
def engine_uri(): return os.environ["MY_DATABASE"]

@pytest.fixture(scope="session")
def engine_json_serializer(): return lambda value: json.dumps({"mine": True})

@pytest.fixture(scope="session")
def engine_echo(): return True

@pytest.fixture(scope="session")
def engine_extra_kwargs(): return {"pool_size": 3, "application_name": "mine"}
"""
CHECKS = """
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

async def test_engine_uri(transaction):
    name = await transaction.fetch_value(sa.text("SELECT current_database()"))
    assert "_overridden_" in name

async def test_engine_json_serializer(transaction):
    value = sa.cast(sa.bindparam("value", {"yours": True}, JSONB), JSONB)
    assert await transaction.fetch_value(sa.select(value)) == {"mine": True}

async def test_engine_echo(db):
    assert db.engine.echo is True

async def test_engine_extra_kwargs(db, transaction):
    assert db.engine.sync_engine.pool.size() == 3
    assert await transaction.fetch_value(sa.text("SHOW application_name")) == "mine"

async def test_the_client_uses_the_same_database(client):
    assert (await client.get("/livez")).status_code == 200
"""

WHICH_PATH = """
import os
import sqlalchemy as sa
from dalkit import DataAccessLayer
from dalkit.settings import Settings

async def test_which_path_is_taken(app, db, client):
    expected = os.environ["DATABASE_FAST_PATH"] == "true"
    assert (db.compiled(sa.select(sa.literal(1)), None) is not None) is expected
    assert DataAccessLayer().fast_path is expected
    assert DataAccessLayer(fast_path=True).fast_path
    assert Settings(_env_file=None).database_fast_path is expected
"""


OWN_VARIABLES = """
import os
import pytest
from pydantic import Field
from dalkit.settings import Settings
from tests.conftest import *

class Own(Settings):
    greeting: str = "hello"
    renamed: str = Field("hello", validation_alias="other_name")

@pytest.fixture(scope="session")
def settings_class(): return Own
"""
NOTHING_OF_THE_DEVELOPERS = """
def test_settings_are_the_defaults(settings):
    assert (settings.greeting, settings.renamed) == ("hello", "hello")
    assert (settings.log_level, settings.max_body_size) == ("INFO", 1_048_576)
    assert settings.auth0_dev_issuer.startswith("http://127.0.0.1:")
"""
WHO_AM_I = """
import pytest
import sqlalchemy as sa

async def test_the_role_may_create_databases_and_nothing_else(transaction):
    role = sa.text("SELECT * FROM pg_roles WHERE rolname = current_user")
    [row] = (await transaction.execute(role)).mappings()
    rights = {name for name, value in row.items() if value is True}
    assert rights == {"rolcreatedb", "rolcanlogin", "rolinherit"}

@pytest.mark.superuser("looks at itself")
async def test_the_superuser(superuser_url):
    assert superuser_url.username == "postgres"

async def test_another_database(fresh_database):
    pass
"""


def run_pytest(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a process of its own, from the project."""
    ours = ("PYTEST_", "TEST_SERVER", "TEST_SUPERUSER")
    outside = {name: it for name, it in os.environ.items() if not name.startswith(ours)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, cwd=PROJECT, env=outside | environment, capture_output=True, text=True, check=False
    )


async def test_every_override_takes_effect(
    server_url: URL, worker_id: str, tmp_path: Path, template_database: str
) -> None:
    name = named(server_url, "overridden", worker_id)
    await drop_database(server_url, name)
    await create_database(server_url, name, template=template_database)
    (tmp_path / "conftest.py").write_text(OVERRIDES)
    (tmp_path / "test_overrides.py").write_text(CHECKS)
    url = server_url.set(drivername="postgresql", database=name)
    try:
        result = run_pytest(
            str(tmp_path),
            f"--config-file={PROJECT / 'pyproject.toml'}",
            MY_DATABASE=url.render_as_string(hide_password=False),
            TEST_DATABASE_URL=url.render_as_string(hide_password=False),
            PYTHONPATH=os.pathsep.join(sys.path),
        )
        assert "5 passed" in result.stdout, result.stdout + result.stderr
    finally:
        await drop_database(server_url, name)


@pytest.mark.parametrize("value", ["true", "false"])
def test_one_variable_takes_every_test_to_sqlalchemys_own_path(
    server_url: URL, worker_id: str, tmp_path: Path, value: str
) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import *")
    (tmp_path / "test_path.py").write_text(WHICH_PATH)
    url = server_url.set(drivername="postgresql", database=named(server_url, "path", worker_id))
    result = run_pytest(
        str(tmp_path),
        f"--config-file={PROJECT / 'pyproject.toml'}",
        "-n1",  # the workers follow, too
        TEST_DATABASE_URL=url.render_as_string(hide_password=False),
        PYTHONPATH=os.pathsep.join(sys.path),
        DATABASE_FAST_PATH=value,
    )
    assert "1 passed" in result.stdout, result.stdout + result.stderr


def run_in(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on the files of `folder`, with the project's configuration."""
    return run_pytest(
        str(folder),
        f"--config-file={PROJECT / 'pyproject.toml'}",
        *options,
        PYTHONPATH=os.pathsep.join(sys.path),
        **environment,
    )


def test_the_developers_own_variables_are_forgotten(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(OWN_VARIABLES)
    (tmp_path / "test_own.py").write_text(NOTHING_OF_THE_DEVELOPERS)
    mine = {"GREETING": "mine", "other_name": "mine", "log_level": "DEBUG", "MAX_BODY_SIZE": "1"}
    result = run_in(tmp_path, **mine)
    assert "1 passed" in result.stdout, result.stdout + result.stderr


def test_the_embedded_servers_tests_are_no_superuser_unless_marked(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import *")
    (tmp_path / "test_role.py").write_text(WHO_AM_I)
    result = run_in(tmp_path, "-n1")
    assert "3 passed" in result.stdout, result.stdout + result.stderr


@pytest.mark.superuser("makes a role that may not create databases")
async def test_a_role_that_may_not_create_databases_skips_what_needs_more_of_them(
    superuser_url: URL | None, worker_id: str, server_url: URL, tmp_path: Path
) -> None:
    """With --keep-database; without, or in a worker of its own, one sentence says what to do."""
    assert superuser_url is not None
    (tmp_path / "conftest.py").write_text("from tests.conftest import *")
    (tmp_path / "test_role.py").write_text(WHO_AM_I)
    name = named(server_url, "given", worker_id)
    role = f"given_{worker_id}"
    await drop_database(superuser_url, name)
    admin = await asyncpg.connect(superuser_url.render_as_string(hide_password=False))
    await admin.execute(f"DROP ROLE IF EXISTS {role}")
    await admin.execute(f"CREATE ROLE {role} LOGIN")
    await admin.execute(f'CREATE DATABASE "{name}" OWNER {role}')
    url = superuser_url.set(username=role, database=name).render_as_string(hide_password=False)
    try:
        kept = run_in(tmp_path, "--keep-database", TEST_DATABASE_URL=url)
        assert "1 failed, 2 skipped" in kept.stdout, kept.stdout  # it is the role that fails
        assert "rolcreatedb" in kept.stdout
        assert "It needs a superuser (looks at itself), which TEST_DATABASE_URL" in kept.stdout
        assert f"It needs a database of its own, and the role '{role}' may not: " in kept.stdout
        for options in ([], ["--keep-database", "-n1"]):
            refused = run_in(tmp_path, *options, TEST_DATABASE_URL=url)
            assert f"The role '{role}' may not make the database 'tests" in refused.stdout
            assert "run the tests with --keep-database, or ALTER ROLE" in refused.stdout
            assert "Traceback" not in refused.stdout
    finally:
        await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await admin.execute(f"DROP ROLE {role}")
        await admin.close()


def test_a_database_that_is_not_named_for_tests_is_refused() -> None:
    url = "postgresql://app@127.0.0.1:1/production"
    result = run_pytest("tests/test_settings.py", TEST_DATABASE_URL=url)
    assert result.returncode != 0
    assert "'production', which the tests would drop" in result.stderr
    assert "production_test" in result.stderr


@pytest.mark.parametrize(
    ("switches", "is_kept", "is_migrated"),
    [
        ([], False, None),
        (["--keep-database"], True, True),
        (["--keep-database", "--no-migrations"], True, False),
    ],
)
async def test_the_switches_keep_the_database_and_skip_the_migrations(
    server_url: URL, worker_id: str, switches: list[str], is_kept: bool, is_migrated: bool | None
) -> None:
    name = named(server_url, "switched", worker_id)
    url = server_url.set(drivername="postgresql", database=name)
    given = url.render_as_string(hide_password=False)
    await drop_database(server_url, name)
    try:
        chosen = "tests/fast/test_wire.py::test_the_dialect_keeps_its_transaction_where_we_put_ours"
        result = run_pytest(chosen, *switches, TEST_DATABASE_URL=given)
        assert "1 passed" in result.stdout, result.stdout + result.stderr
        admin = await asyncpg.connect(given.rsplit("/", 1)[0] + "/postgres")
        found = await admin.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name)
        await admin.close()
        assert bool(found) == is_kept
        if is_kept:
            kept = await asyncpg.connect(given)
            assert (await kept.fetchval("SELECT to_regclass('book')") is not None) == is_migrated
            await kept.close()
    finally:
        await drop_database(server_url, name)


@pytest.mark.superuser("has autovacuum begin at once")
async def test_a_database_is_dropped_while_it_is_vacuumed(
    superuser_url: URL | None, server_url: URL, worker_id: str
) -> None:
    """DROP DATABASE WITH (FORCE) refuses then: autovacuum is a process of a superuser."""
    assert superuser_url is not None
    name = named(server_url, "vacuumed", worker_id)
    await drop_database(server_url, name)
    await create_database(server_url, name)
    url = server_url.set(drivername="postgresql", database=name)
    user = await asyncpg.connect(url.render_as_string(hide_password=False))
    admin = await asyncpg.connect(superuser_url.render_as_string(hide_password=False))
    await user.execute(
        """CREATE TABLE busy WITH (autovacuum_vacuum_threshold = 1,
           autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_limit = 1,
           autovacuum_vacuum_cost_delay = 100) AS SELECT generate_series(1, 50000) AS x;
           DELETE FROM busy"""
    )
    await admin.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    await admin.execute("SELECT pg_reload_conf()")
    workers = """SELECT count(*) FROM pg_stat_activity
        WHERE datname = $1 AND backend_type = 'autovacuum worker'"""
    try:
        async with asyncio.timeout(60):
            while not await admin.fetchval(workers, name):
                await asyncio.sleep(0.05)
        with suppress(pytest.skip.Exception):  # it would hide that the role could not
            await drop_database(server_url, name)
        there = "SELECT count(*) FROM pg_database WHERE datname = $1"
        assert await admin.fetchval(there, name) == 0
    finally:
        await admin.execute("ALTER SYSTEM RESET autovacuum_naptime")
        await admin.execute("SELECT pg_reload_conf()")
        await admin.close()
        user.terminate()
