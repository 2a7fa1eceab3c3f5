"""A database with something of every kind that PostgreSQL has."""

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from dalkit import DataAccessLayer
from dalkit.data.engine import create_engine
from dalkit.testing.databases import create_database, drop_database, named

ZOO = Path(__file__).with_name("zoo.sql").read_text()
#: What PostgreSQL 18 has and others have not.
ZOO_18 = """
ALTER TABLE zoo.columns ADD virtual integer GENERATED ALWAYS AS (always * 3);
ALTER TABLE zoo.keyed ADD CONSTRAINT keyed_temporal UNIQUE (room, during WITHOUT OVERLAPS);
"""
#: What only a superuser may create.
ZOO_OF_SUPERUSER = """
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE zoo.far (id integer, name text) SERVER nowhere;
"""


@pytest.fixture(scope="session")
async def zoo_url(
    anyio_backend: str,  # named, because tests that are not async ask for it, too
    server_url: URL,
    superuser_url: URL | None,
    worker_id: str,
) -> AsyncIterator[str]:
    """The URL of a database with the schemas of zoo.sql and an index that is not valid."""
    name = named(server_url, "zoo", worker_id)
    url = server_url.set(drivername="postgresql", database=name)
    rendered = url.render_as_string(hide_password=False)
    await drop_database(server_url, name)
    await create_database(server_url, name)
    conn = await asyncpg.connect(rendered)
    try:
        await conn.execute(ZOO)
        if conn.get_server_version().major >= 18:
            await conn.execute(ZOO_18)
        with suppress(asyncpg.UniqueViolationError):
            await conn.execute("CREATE UNIQUE INDEX CONCURRENTLY keyed_broken ON zoo.keyed (extra)")
    finally:
        await conn.close()
    if superuser_url is not None:
        admin = superuser_url.set(drivername="postgresql", database=name)
        conn = await asyncpg.connect(admin.render_as_string(hide_password=False))
        try:
            await conn.execute(ZOO_OF_SUPERUSER)
        finally:
            await conn.close()
    yield rendered
    await drop_database(server_url, name)


@pytest.fixture(scope="session")
async def zoo_engine(zoo_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine of that database."""
    engine = create_engine(zoo_url)
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session")
async def zoo(zoo_engine: AsyncEngine) -> DataAccessLayer:
    """The tables of two of its schemas."""
    dal = DataAccessLayer()
    await dal.reflect(zoo_engine, schemas=["zoo", "Other"])
    return dal
