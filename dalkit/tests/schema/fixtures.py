"""A copy of the migrations that a test may add to, an empty database, and alembic as a process."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import URL, Connection

from dalkit.data.engine import create_engine
from dalkit.schema import SyncError, manager_from_config, sync
from dalkit.schema.revisions import alembic_config, head_revision
from dalkit.testing.databases import create_database, drop_database, named

from tests.paths import PROJECT, SERVICE

MIGRATION = '''"""Do as a test says."""

from alembic import op

revision = "{revision}"
down_revision = "{after}"
branch_labels = None
depends_on = None


def upgrade():
    {body}


def downgrade():
    pass
'''

Alembic = Callable[..., subprocess.CompletedProcess[str]]
AddMigration = Callable[..., None]
InProcess = Callable[..., Awaitable[None]]
Upgrade = Callable[[], Awaitable[str]]


def upgrade_over(connection: Connection) -> None:
    """Upgrade to the newest revision over a connection of the caller."""
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@pytest.fixture
async def empty_database(server_url: URL, worker_id: str, anyio_backend: str) -> AsyncIterator[str]:
    """The URL of a database that was never migrated; `anyio_backend` lets plain tests have it."""
    name = named(server_url, "empty", worker_id)
    await drop_database(server_url, name)
    await create_database(server_url, name)
    url = server_url.set(drivername="postgresql", database=name)
    yield url.render_as_string(hide_password=False)
    await drop_database(server_url, name)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, which alembic finds."""
    service = tmp_path / "tests" / "service"
    shutil.copytree(SERVICE, service, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests" / "__init__.py").touch()
    # Whoever imports another driver than asyncpg notices.
    for driver in ("psycopg", "psycopg2"):
        (tmp_path / f"{driver}.py").write_text("raise ImportError('only asyncpg')\n")
    monkeypatch.setenv("ALEMBIC_CONFIG", str(service / "alembic.ini"))
    return service


@pytest.fixture
def add_migration(checkout: Path) -> AddMigration:
    """Add a migration to the copy, by default after its head: `add_migration("id", body="...")`."""

    def add(revision: str, *, after: str | None = None, body: str = "pass") -> None:
        follows = after or head_revision(alembic_config())
        text = MIGRATION.format(revision=revision, after=follows, body=body)
        (checkout / "migrations" / "versions" / f"{revision}_test.py").write_text(text)

    return add


@pytest.fixture
def alembic(checkout: Path, empty_database: str) -> Alembic:
    """Run alembic's command in the copy, as a process: `alembic("upgrade", "head")`."""

    def run(*arguments: str, url: str = empty_database) -> subprocess.CompletedProcess[str]:
        environment = {"PYTHONPATH": str(checkout.parents[1]), "DATABASE_URL": url}
        return subprocess.run(
            [sys.executable, "-m", "alembic", *arguments],
            cwd=checkout,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def in_process(checkout: Path, empty_database: str) -> InProcess:
    """Run one of alembic's functions in the copy: `await in_process(command.upgrade, "head")`."""

    async def run(act: Callable[..., object], *arguments: str, **options: object) -> None:
        def with_connection(connection: Connection) -> None:
            config = alembic_config()
            config.attributes["connection"] = connection
            act(config, *arguments, **options)

        async with manager_from_config(empty_database).migration_connection() as connection:
            await connection.run_sync(with_connection)

    return run


@pytest.fixture(params=["db sync", "alembic", "sync", "a connection"])
def upgrade(
    request: pytest.FixtureRequest, checkout: Path, empty_database: str, alembic: Alembic
) -> Upgrade:
    """One way to migrate; it returns what it says when it fails.

    `db sync` is that of `make migrate` and of the Job, `sync` that of the fixtures.
    """

    def db_sync() -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tests.service.cli", "db", "sync"],
            cwd=PROJECT,
            env=os.environ | {"DATABASE_URL": empty_database},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.stderr if done.returncode else ""

    def by_hand() -> str:
        done = alembic("upgrade", "head")
        return done.stdout + done.stderr if done.returncode else ""

    def with_connection(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    async def run() -> str:
        engine = create_engine(empty_database)
        try:
            if request.param == "sync":
                await sync(empty_database)
            else:
                async with engine.connect() as connection:
                    await connection.run_sync(with_connection)
        except SyncError as error:
            return str(error)
        finally:
            await engine.dispose()
        return ""

    started = {"db sync": db_sync, "alembic": by_hand}.get(request.param)
    return run if started is None else lambda: asyncio.to_thread(started)
