"""`TEST_THROUGH_PGBOUNCER=1 pytest tests/data`: every engine of a test goes through PgBouncer.

What a test observes with, a connection of asyncpg's own, goes to the server itself.
"""

import os
from contextlib import ExitStack
from typing import Any

import asyncpg
import pytest
from sqlalchemy import URL, make_url

from dalkit.data import engine
from dalkit.data.urls import async_url
from dalkit.testing.databases import SERVER

from tests.pgbouncer.bouncer import MISSING, PROGRAM, bouncer

ASKED_FOR = "TEST_THROUGH_PGBOUNCER"
PORT = "TEST_PGBOUNCER_PORT"


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start it once, after the server, and lead the engines of every process there."""
    about = "no_pgbouncer(why): not through PgBouncer"
    config.addinivalue_line("markers", about)
    if os.environ.get(ASKED_FOR) != "1" or config.option.help or config.option.collectonly:
        return
    if PROGRAM is None:
        raise pytest.UsageError(MISSING)
    if not hasattr(config, "workerinput"):
        stack = ExitStack()
        port = stack.enter_context(bouncer(make_url(os.environ[SERVER])))
        os.environ[PORT] = str(port)
        config.add_cleanup(stack.close)
    defaults: Any = engine.create_engine.__kwdefaults__
    defaults["pgbouncer"] = True
    engine.async_url = _through  # type: ignore[attr-defined]


def _through(url: str | URL) -> URL:
    """The URL of an engine: PgBouncer's, where the tests' server was meant."""
    parsed, server = async_url(url), make_url(os.environ[SERVER])
    if (parsed.host, parsed.port) != (server.host, server.port):
        return parsed
    return parsed.set(port=int(os.environ[PORT]))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out what is not so behind PgBouncer."""
    if (marker := item.get_closest_marker("no_pgbouncer")) and PORT in os.environ:
        pytest.skip(f"Not through PgBouncer: {marker.args[0]}.")


async def leave(server: URL, database: str) -> None:
    """End PgBouncer's connections to a database."""
    if PORT not in os.environ:
        return
    place = server.set(drivername="postgresql", database="postgres")
    conn = await asyncpg.connect(place.render_as_string(hide_password=False))
    query = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1"
    await conn.fetch(query, database)
    await conn.close()
