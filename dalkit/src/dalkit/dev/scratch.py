"""An empty database with all migrations, to look at and to try rows in; it is thrown away."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy import make_url

from ..schema import sync
from .postgres import temporary_cluster
from .project import Project

#: Whom the database belongs to on a server of its own: as in the tests, no superuser.
ROLE = "scratch"


@contextmanager
def migrated_database(project: Project) -> Iterator[str]:
    """Yield its URL: on the server of TEST_DATABASE_URL, else on one that lives as long.

    Raises SyncError when the migrations fail, and PostgresError.
    """
    name = f"{project.database}_scratch_test"
    if given := os.environ.get("TEST_DATABASE_URL"):
        server = make_url(given).set(drivername="postgresql")
        own = server.set(database=name).render_as_string(hide_password=False)
        with _database(server.set(database="postgres").render_as_string(hide_password=False), name):
            asyncio.run(sync({"database_url": own}))
            yield own
        return
    with temporary_cluster() as cluster:
        asyncio.run(_execute(cluster.url("postgres"), f"CREATE ROLE {ROLE} LOGIN CREATEDB"))
        with _database(cluster.url("postgres", ROLE), name):
            own = cluster.url(name, ROLE)
            asyncio.run(sync({"database_url": own}))
            yield own


@contextmanager
def _database(server: str, name: str) -> Iterator[None]:
    drop = f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'
    asyncio.run(_execute(server, drop))
    asyncio.run(_execute(server, f'CREATE DATABASE "{name}"'))
    try:
        yield
    finally:
        asyncio.run(_execute(server, drop))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
