"""A database for comparing the compiled path with SQLAlchemy's own."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import URL

from dalkit import DataAccessLayer
from dalkit.data.engine import create_engine
from dalkit.testing.databases import create_database, drop_database, named

EVERY_TYPE = Path(__file__).with_name("every_type.sql").read_text()


@pytest.fixture(scope="session")
async def paths_url(anyio_backend: str, server_url: URL, worker_id: str) -> AsyncIterator[str]:
    """The URL of a database with the tables of every_type.sql; tests leave no row there."""
    name = named(server_url, "paths", worker_id)
    url = server_url.set(drivername="postgresql", database=name, query={"sslmode": "disable"})
    rendered = url.render_as_string(hide_password=False)
    await drop_database(server_url, name)
    await create_database(server_url, name)
    conn = await asyncpg.connect(rendered)
    try:
        await conn.execute(EVERY_TYPE)
    finally:
        await conn.close()
    yield rendered
    await drop_database(server_url, name)


@pytest.fixture(scope="session")
async def lasting_paths(paths_url: str) -> AsyncIterator[DataAccessLayer]:
    """Its tables, for property tests: they ask for nothing that is made anew for each test."""
    async with DataAccessLayer.connect(paths_url) as dal:
        yield dal


@pytest.fixture
async def paths(paths_url: str, lasting_paths: DataAccessLayer) -> AsyncIterator[DataAccessLayer]:
    """The same, on a pool of three connections, with no plan yet and the compiled path on."""
    dal, engine = DataAccessLayer(), create_engine(paths_url, pool_size=3, pool_timeout=2)
    dal.use(engine)
    dal._reflection = lasting_paths._reflection
    dal.fast_path = True
    yield dal
    await engine.dispose()
