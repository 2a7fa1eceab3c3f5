"""Behind a real PgBouncer in transaction mode: nothing is lost, and nothing stays behind."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy import URL, make_url

from dalkit import DataAccessLayer
from dalkit.data.engine import create_engine
from dalkit.schema import sync

from tests.paths import PROJECT
from tests.pgbouncer.bouncer import MISSING, POOL_SIZE, PROGRAM, bouncer
from tests.soak import rounds
from tests.web.request_path import TABLES

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)
PROCESSES = 4
#: What a session has set, and has prepared or listens to.
LEFT = """
SELECT name || '=' || setting FROM pg_settings
WHERE source = 'session' AND name NOT IN ('client_encoding', 'application_name')
UNION ALL SELECT 'prepared ' || name FROM pg_prepared_statements
UNION ALL SELECT 'listens to ' || channel FROM pg_listening_channels() AS channel
UNION ALL SELECT 'app.user=' || current_setting('app.user', true)
WHERE current_setting('app.user', true) <> ''
UNION ALL SELECT 'lock ' || objid FROM pg_locks
WHERE locktype = 'advisory' AND pid = pg_backend_pid()
"""


@pytest.fixture(scope="module")
def port(server_url: URL) -> Iterator[int]:
    """PgBouncer's."""
    with bouncer(server_url) as it:
        yield it


@pytest.fixture
async def observer(committed_database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the server itself, with the table `thing`."""
    conn = await asyncpg.connect(committed_database)
    await conn.execute(TABLES)
    yield conn
    await conn.close()


@pytest.fixture
def through(observer: asyncpg.Connection, committed_database: str, port: int) -> str:
    """The URL of the same database, through PgBouncer."""
    url = make_url(committed_database).set(host="127.0.0.1", port=port)
    return url.update_query_dict({"sslmode": "disable"}).render_as_string(hide_password=False)


async def left_behind(url: str) -> list[list[str]]:
    """What is left on each of the server's connections, all of which are held at once."""
    options = {"statement_cache_size": 0}
    conns = [await asyncpg.connect(url, **options) for _ in range(POOL_SIZE)]
    for conn in conns:
        await conn.execute("BEGIN")
    pids = {await conn.fetchval("SELECT pg_backend_pid()") for conn in conns}
    assert len(pids) == POOL_SIZE
    found = [[row[0] for row in await conn.fetch(LEFT)] for conn in conns]
    for conn in conns:
        await conn.execute("ROLLBACK")
        await conn.close()
    return found


@pytest.mark.slow
@pytest.mark.soak
async def test_processes_share_few_connections_and_lose_nothing(
    through: str, observer: asyncpg.Connection
) -> None:
    count = rounds(90, 600)

    async def run(number: int) -> Counter[str]:
        command = [sys.executable, "-m", "tests.pgbouncer.requests", through]
        process = await asyncio.create_subprocess_exec(
            *(*command, str(1000 * number + 1), str(count)),
            cwd=PROJECT,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        return Counter(json.loads(output))

    counted = sum(await asyncio.gather(*map(run, range(PROCESSES))), Counter[str]())
    each = PROCESSES * count // 3
    assert counted == {"201": each, "409": each, "200": each}  # written, refused, read
    assert await observer.fetchval("SELECT count(*) FROM thing") == each
    assert await left_behind(through) == [[]] * POOL_SIZE


async def test_what_would_stay_behind_is_noticed(through: str) -> None:
    conn = await asyncpg.connect(through, statement_cache_size=0)
    await conn.execute("SET lock_timeout = '7s'")
    await conn.execute("PREPARE mine AS SELECT 1")
    try:
        assert any(left for left in await left_behind(through))
    finally:
        await conn.execute("RESET lock_timeout")
        await conn.execute("DEALLOCATE ALL")
        await conn.close()


async def test_listening_is_refused_with_a_way_around_it(through: str) -> None:
    engine = create_engine(through, pgbouncer=True)
    dal = DataAccessLayer()
    dal.use(engine)
    async with dal.transaction() as tx:
        driver = await tx.get_dbapi_connection()
        with pytest.raises(RuntimeError, match=r"LISTEN news .* asyncpg\.connect"):
            await driver.add_listener("news", print)
        assert await tx.fetch_value(sa.select(sa.literal(1))) == 1
    await engine.dispose()


async def test_migrations_run_through_it(fresh_database: str, port: int, server_url: URL) -> None:
    url = make_url(fresh_database).set(host="127.0.0.1", port=port)
    through = url.render_as_string(hide_password=False)
    direct = await asyncpg.connect(fresh_database)
    await direct.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    _ = await sync({"database_url": through, "database_pgbouncer": True})
    assert await direct.fetchval("SELECT count(*) FROM alembic_version") == 1
    await direct.close()
    assert await left_behind(through) == [[]] * POOL_SIZE
