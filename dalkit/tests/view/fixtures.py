"""A database as origin, whose statements are counted, and caches of each kind."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncEngine

from dalkit.data.engine import create_engine
from dalkit.testing.databases import create_database, drop_database, named
from dalkit.view import in_memory_cache

FOLDER = Path(__file__).parent
TABLES = (FOLDER / "tables.sql").read_text()
ROWS = (FOLDER / "rows.sql").read_text()
NAMES = re.findall(r"CREATE TABLE (\S+)", TABLES)


class Statements:
    """What was sent to the origin since the last look, other than BEGIN and ROLLBACK.

    Neither looks at the catalog, when the tables are reflected.
    """

    def __init__(self) -> None:
        self._sent: list[str] = []

    def heard(self, record: Any) -> None:
        """Take a query that asyncpg has logged."""
        if not re.search("^(BEGIN|ROLLBACK|COMMIT|SAVEPOINT)|pg_|current_setting", record.query):
            self._sent.append(record.query)

    async def sent(self) -> list[str]:
        """Return them; asyncpg tells of a query in the next turn of the event loop."""
        for _ in range(3):
            await asyncio.sleep(0)
        found, self._sent = self._sent, []
        return found

    async def count(self) -> int:
        """Return how many there were."""
        return len(await self.sent())


@pytest.fixture(scope="session")
async def library_url(anyio_backend: str, server_url: URL, worker_id: str) -> AsyncIterator[str]:
    """The URL of a database with the tables of tables.sql."""
    name = named(server_url, "view", worker_id)
    url = server_url.set(drivername="postgresql", database=name, query={"sslmode": "disable"})
    rendered = url.render_as_string(hide_password=False)
    await drop_database(server_url, name)
    await create_database(server_url, name)
    conn = await asyncpg.connect(rendered)
    try:
        await conn.execute(TABLES)
    finally:
        await conn.close()
    yield rendered
    await drop_database(server_url, name)


@pytest.fixture
async def db_of_library(library_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that may write to it; it has the rows of rows.sql."""
    conn = await asyncpg.connect(library_url)
    await conn.execute(f"TRUNCATE {', '.join(NAMES)}")
    await conn.execute(ROWS)
    yield conn
    await conn.close()


@pytest.fixture
def statements() -> Statements:
    """The statements that `origin` was sent."""
    return Statements()


@pytest.fixture
async def origin(
    library_url: str, db_of_library: asyncpg.Connection, statements: Statements
) -> AsyncIterator[AsyncEngine]:
    """An engine of the database with fresh rows, which tells `statements` what it sends."""
    engine = create_engine(library_url, pool_size=3)

    @event.listens_for(engine.sync_engine, "connect")
    def listen(connection: Any, _: object) -> None:
        connection.driver_connection.add_query_logger(statements.heard)

    yield engine
    await engine.dispose()


@pytest.fixture(params=["file", "memory", "postgres"])
async def cache(
    request: pytest.FixtureRequest, tmp_path: Path, library_url: str
) -> AsyncIterator[Any]:
    """A cache of each kind, empty."""
    if request.param == "file":
        yield f"sqlite:///{tmp_path}/library.cache"
    elif request.param == "memory":
        yield in_memory_cache()
    else:
        yield library_url
        conn = await asyncpg.connect(library_url)
        await conn.execute("DROP SCHEMA dalkit_view CASCADE")
        await conn.close()


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The URL of a cache in a file that is not there yet."""
    return f"sqlite:///{tmp_path}/library.cache"
