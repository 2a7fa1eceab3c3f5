"""Creates, migrates and drops the databases of the tests.

They are on an embedded server that lives as long as the run, or on that of TEST_DATABASE_URL.
DATABASE_FAST_PATH=false runs all statements through SQLAlchemy, other than in tests of both paths.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

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
SUPERUSER = "TEST_SUPERUSER_URL"
#: Whom the tests are on the embedded server: who may create databases, and nothing else.
ROLE = "tests"
FAST_PATH = "DATABASE_FAST_PATH"
#: `DATABASE_FAST_PATH=false make test` is for this file and for servers that tests start.
KEPT = {"database_fast_path", "compiled_routes"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switches."""
    group = parser.getgroup("database")
    group.addoption(
        "--keep-database", action="store_true", help="use the database that is there, and keep it"
    )
    group.addoption("--no-migrations", action="store_true", help="do not migrate the test database")


def pytest_configure(config: pytest.Config) -> None:
    """Start the server once, in the process that the workers are started by."""
    config.addinivalue_line("markers", "superuser(why): needs the server's superuser, so: skipped")
    forget_variables(Settings)
    defaults: Any = DataAccessLayer.__init__.__kwdefaults__
    if FAST_PATH in os.environ:
        defaults["fast_path"] = TypeAdapter(bool).validate_python(os.environ[FAST_PATH])
    if hasattr(config, "workerinput") or config.option.help or config.option.collectonly:
        return
    os.environ.pop(SUPERUSER, None)
    if given := os.environ.get("TEST_DATABASE_URL"):
        name = make_url(given).database or ""
        if not name.endswith("_test"):
            raise pytest.UsageError(
                f"TEST_DATABASE_URL names the database {name!r}, which the tests would drop. "
                f"Name one that ends in _test, such as {name or 'app'}_test."
            )
        os.environ[SERVER] = given
        return
    stack, project = ExitStack(), find_project(config.rootpath)
    is_kept = config.getoption("--keep-database")
    server = stack.enter_context(cluster(project.data_dir) if is_kept else temporary_cluster())
    config.add_cleanup(stack.close)
    os.environ[SUPERUSER] = server.url("postgres")
    with suppress(asyncpg.DuplicateObjectError):  # with --keep-database
        asyncio.run(_fetch(server.url("postgres"), f"CREATE ROLE {ROLE} LOGIN CREATEDB"))
    os.environ[SERVER] = server.url(f"{project.database}_test", role=ROLE)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a superuser where the server is somebody else's."""
    marker = item.get_closest_marker("superuser")
    if marker is not None and SUPERUSER not in os.environ:
        why = ", ".join(map(str, marker.args))
        pytest.skip(f"It needs a superuser ({why}), which TEST_DATABASE_URL does not give.")


def forget_variables(settings: type[Settings]) -> None:
    """Remove the developer's own values of these settings from the environment."""
    prefix = settings.model_config.get("env_prefix", "")
    names = {f"{prefix}{name}".lower() for name in settings.model_fields.keys() - KEPT}
    for field in settings.model_fields.values():
        alias = field.validation_alias
        names.update(str(one).lower() for one in getattr(alias, "choices", [alias]))
    for name in [name for name in os.environ if name.lower() in names]:
        del os.environ[name]


@pytest.fixture(scope="session")
def server_url() -> URL:
    """The server, and the name of the database that tests may have there."""
    return make_url(os.environ[SERVER])


@pytest.fixture(scope="session")
def superuser_url() -> URL | None:
    """The server as its superuser; None where there is none, which skips what is so marked."""
    return make_url(os.environ[SUPERUSER]) if SUPERUSER in os.environ else None


@pytest.fixture(scope="session")
def keep_database(pytestconfig: pytest.Config) -> bool:
    """Whether the test database is used as it is found, and stays; `--keep-database`."""
    return bool(pytestconfig.getoption("--keep-database"))


@pytest.fixture(scope="session")
def run_migrations(pytestconfig: pytest.Config) -> bool:
    """Whether the test database is migrated; not with `--no-migrations`."""
    return not pytestconfig.getoption("--no-migrations")


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
    try:
        if not keep_database:
            await drop_database(server_url, name)
        await create_database(server_url, name)
    except pytest.skip.Exception as error:
        pytest.fail(
            f"The role {server_url.username!r} may not make the database {name!r} ({error}): make"
            " it yourself and run the tests with --keep-database, or ALTER ROLE ... CREATEDB.",
            pytrace=False,
        )
    url = _in(server_url, name)
    if run_migrations:
        await sync({"database_url": url})
    before = await _count_rows(url)
    yield url
    assert await _count_rows(url) == before, "a test has left rows behind"
    assert not await _fetch(url, _IN_TRANSACTION), "a test has left a transaction open"
    if not keep_database:
        await drop_database(server_url, name)


@pytest.fixture(scope="session")
async def template_database(server_url: URL, worker_id: str) -> AsyncIterator[str]:
    """The name of a migrated database that nobody connects to, so that it can be copied."""
    name = named(server_url, "template", worker_id)
    async with _database(server_url, name) as url:
        await sync({"database_url": url})
        yield name


@pytest.fixture(scope="session")
async def committed_database(
    server_url: URL, template_database: str, worker_id: str
) -> AsyncIterator[str]:
    """The URL of a migrated database for tests that commit; each of them clears what it needs."""
    name = named(server_url, "committed", worker_id)
    async with _database(server_url, name, template_database) as url:
        yield url


@pytest.fixture
async def fresh_database(
    server_url: URL, template_database: str, worker_id: str
) -> AsyncIterator[str]:
    """The URL of a migrated database of this test's own, for a test that changes the schema."""
    name = named(server_url, "fresh", worker_id)
    async with _database(server_url, name, template_database) as url:
        yield url


def named(server: URL, *words: str) -> str:
    """The name of another database: that of the tests with these words, still ending in _test."""
    return "_".join([str(server.database).removesuffix("_test"), *words, "test"])


async def create_database(server: URL, name: str, *, template: str | None = None) -> None:
    """Create a database unless it is there already; skips the test where the role may not."""
    if not await _ask(server, "SELECT FROM pg_database WHERE datname = $1", name):
        copy = f' TEMPLATE "{template}" STRATEGY FILE_COPY' if template else ""
        await _ask(server, f'CREATE DATABASE "{name}"{copy}')


async def drop_database(server: URL, name: str) -> None:
    """Drop a database if it is there, whoever is connected to it; skips where the role may not."""
    drop = f'DROP DATABASE IF EXISTS "{name}"'
    try:
        await _fetch(_in(server, "postgres"), f"{drop} WITH (FORCE)")
    except asyncpg.InsufficientPrivilegeError:
        # Autovacuum is at work there, as a superuser: ended by a DROP without FORCE alone.
        await _ask(server, _END_OWN, name)
        await _ask(server, drop)


@asynccontextmanager
async def _database(server: URL, name: str, template: str | None = None) -> AsyncIterator[str]:
    """The URL of a new database, which is dropped afterwards."""
    await drop_database(server, name)
    await create_database(server, name, template=template)
    yield _in(server, name)
    await drop_database(server, name)


_TABLES = """SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"""
_IN_TRANSACTION = """SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND state LIKE 'idle in transaction%'"""

_END_OWN = """SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = $1 AND usename = current_user AND pid <> pg_backend_pid()"""


async def _count_rows(url: str) -> dict[str, int]:
    names = [table["name"] for table in await _fetch(url, _TABLES)]
    return {name: (await _fetch(url, f"SELECT count(*) FROM {name}"))[0][0] for name in names}


async def _ask(server: URL, query: str, *values: object) -> list[asyncpg.Record]:
    try:
        return await _fetch(_in(server, "postgres"), query, *values)
    except asyncpg.InsufficientPrivilegeError as error:
        role = server.username
        pytest.skip(f"It needs a database of its own, and the role {role!r} may not: {error}.")


async def _fetch(url: str, query: str, *values: object) -> list[asyncpg.Record]:
    conn = await asyncpg.connect(url)
    try:
        return list(await conn.fetch(query, *values))
    finally:
        await conn.close()


def _in(server: URL, database: str) -> str:
    url = server.set(drivername="postgresql", database=database)
    return url.render_as_string(hide_password=False)
