"""Creates, migrates and drops the databases of the tests.

They are on an embedded server that lives as long as the run, or on that of TEST_DATABASE_URL.
DATABASE_FAST_PATH=false runs all statements through SQLAlchemy, other than in tests of both paths.
"""

import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress

import asyncpg
import pytest
from pydantic import TypeAdapter
from sqlalchemy import URL, make_url

from ..data.dal import DataAccessLayer
from ..dev.postgres import cluster, temporary_cluster
from ..dev.project import find_project
from ..schema import sync
from ..settings import Settings

SERVER = "TEST_SERVER_URL"
FAST_PATH = "DATABASE_FAST_PATH"
#: `DATABASE_FAST_PATH=false make test` is for this file and for servers that tests start.
KEPT = {"database_fast_path"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switches."""
    group = parser.getgroup("database")
    group.addoption(
        "--keep-database", action="store_true", help="use the database that is there, and keep it"
    )
    group.addoption("--no-migrations", action="store_true", help="do not migrate the test database")


def pytest_configure(config: pytest.Config) -> None:
    """Start the server once, in the process that the workers are started by."""
    for name in Settings.model_fields.keys() - KEPT:  # the developer's own
        os.environ.pop(name.upper(), None)
    if FAST_PATH in os.environ:
        use_fast_path(TypeAdapter(bool).validate_python(os.environ[FAST_PATH]))
    if hasattr(config, "workerinput") or config.option.help or config.option.collectonly:
        return
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        os.environ[SERVER] = _own_server(given)
        return
    stack = ExitStack()
    keep = config.getoption("--keep-database")
    project = find_project(config.rootpath)
    own = cluster(project.data_dir) if keep else temporary_cluster()
    server = stack.enter_context(own)
    os.environ[SERVER] = server.url(f"{project.package.replace('.', '_')}_test")
    config.add_cleanup(stack.close)


def use_fast_path(on: bool) -> None:
    """Make this what a DataAccessLayer is made with unless it says otherwise."""
    defaults = DataAccessLayer.__init__.__kwdefaults__ or {}
    assert "fast_path" in defaults
    defaults["fast_path"] = on


def _own_server(url: str) -> str:
    name = make_url(url).database or ""
    if not name.endswith("_test"):
        raise pytest.UsageError(
            f"TEST_DATABASE_URL names the database {name!r}, which the tests would drop. "
            f"Name one that ends in _test, such as {name or 'app'}_test."
        )
    return url


@pytest.fixture(scope="session")
def server_url() -> URL:
    """The server, and the name of the database that tests may have there."""
    return make_url(os.environ[SERVER])


@pytest.fixture(scope="session")
def keep_database(request: pytest.FixtureRequest) -> bool:
    """Whether the test database is used as found and stays; `--keep-database`."""
    return bool(request.config.getoption("--keep-database"))


@pytest.fixture(scope="session")
def run_migrations(request: pytest.FixtureRequest) -> bool:
    """Whether the test database is migrated; not with `--no-migrations`."""
    return not request.config.getoption("--no-migrations")


@pytest.fixture(scope="session")
async def test_database(
    anyio_backend: str,  # named, so that a test that is not async may ask for `app`, too
    server_url: URL,
    worker_id: str,
    keep_database: bool,
    run_migrations: bool,
) -> AsyncIterator[str]:
    """A database of this worker, migrated."""
    name = str(server_url.database) if worker_id == "master" else named(server_url, worker_id)
    url = _in(server_url, name)
    if not keep_database:
        await drop_database(server_url, name)
    await create_database(server_url, name)
    if run_migrations:
        await sync({"database_url": url})
    before = await count_rows(url)
    yield url
    assert await count_rows(url) == before, "a test has left rows behind"
    assert await idle_in_transaction(url) == 0, "a test has left a transaction open"
    if not keep_database:
        await drop_database(server_url, name)


@pytest.fixture(scope="session")
async def template_database(server_url: URL, worker_id: str) -> AsyncIterator[str]:
    """The name of a migrated database that nobody connects to, so that it can be copied."""
    name = named(server_url, "template", worker_id)
    await drop_database(server_url, name)
    await create_database(server_url, name)
    await sync({"database_url": _in(server_url, name)})
    yield name
    await drop_database(server_url, name)


@pytest.fixture(scope="session")
async def committed_database(
    server_url: URL, template_database: str, worker_id: str
) -> AsyncIterator[str]:
    """The URL of a migrated database for tests that commit; each of them clears what it needs."""
    name = named(server_url, "committed", worker_id)
    await drop_database(server_url, name)
    await create_database(server_url, name, template=template_database)
    yield _in(server_url, name)
    await drop_database(server_url, name)


@pytest.fixture
async def fresh_database(
    server_url: URL, template_database: str, worker_id: str
) -> AsyncIterator[str]:
    """The URL of a migrated database of this test's own, for a test that changes the schema."""
    name = named(server_url, "fresh", worker_id)
    await drop_database(server_url, name)
    await create_database(server_url, name, template=template_database)
    yield _in(server_url, name)
    await drop_database(server_url, name)


def named(server: URL, *words: str) -> str:
    """The name of another database: that of the tests with these words, still ending in _test."""
    return "_".join([str(server.database).removesuffix("_test"), *words, "test"])


async def create_database(server: URL, name: str, *, template: str | None = None) -> None:
    """Create a database unless it is there already."""
    copy = f' TEMPLATE "{template}" STRATEGY FILE_COPY' if template else ""
    with suppress(asyncpg.DuplicateDatabaseError):
        await _execute(server, f'CREATE DATABASE "{name}"{copy}')


async def drop_database(server: URL, name: str) -> None:
    """Drop a database if it is there, whoever is connected to it."""
    await _execute(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def count_rows(url: str) -> dict[str, int]:
    """The number of rows of each table."""
    tables = await _fetch(
        url,
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables "
        "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
    )
    counts = {}
    for table in tables:
        [row] = await _fetch(url, f"SELECT count(*) AS n FROM {table['name']}")
        counts[table["name"]] = row["n"]
    return counts


async def idle_in_transaction(url: str) -> int:
    """The number of connections that wait with a transaction open."""
    idle = await _fetch(
        url,
        "SELECT pid FROM pg_stat_activity "
        "WHERE datname = current_database() AND state LIKE 'idle in transaction%'",
    )
    return len(idle)


async def _fetch(url: str, query: str) -> list[asyncpg.Record]:
    conn = await asyncpg.connect(url)
    try:
        return list(await conn.fetch(query))
    finally:
        await conn.close()


async def _execute(server: URL, statement: str) -> None:
    conn = await asyncpg.connect(_in(server, "postgres"))
    try:
        await conn.execute(statement)
    finally:
        await conn.close()


def _in(server: URL, database: str) -> str:
    url = server.set(drivername="postgresql", database=database)
    return url.render_as_string(hide_password=False)
