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


@pytest.fixture(scope="session")
async def zoo_url(
    anyio_backend: str,  # named, because tests that are not async ask for it, too
    server_url: URL,
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
        with suppress(asyncpg.UniqueViolationError):
            await conn.execute("CREATE UNIQUE INDEX CONCURRENTLY keyed_broken ON zoo.keyed (extra)")
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
