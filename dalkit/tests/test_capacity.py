"""Pools that cannot fit are told at the start, and each limit that is reached answers 503."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.middleware import Middleware
from sqlalchemy import URL, make_url

from dalkit import DataAccessLayer, ReadTransaction, TransactionMiddleware
from dalkit.capacity import shortages
from dalkit.data.engine import create_engine
from dalkit.settings import Settings
from dalkit.web import problem_handlers

from tests.paths import PROJECT
from tests.pgbouncer.bouncer import MISSING, PROGRAM, bouncer
from tests.web.apps import calling

needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason=MISSING)


def settings_of(url: str, **values: int | str) -> Settings:
    return Settings.model_validate({"environment": "testing", "database_url": url} | values)


async def limit(url: str, connections: int) -> None:
    """Let the database have so many connections from now on."""
    conn = await asyncpg.connect(url)
    name = make_url(url).database
    await conn.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT {connections}')
    await conn.close()


def through(port: int, url: str) -> str:
    """The same database through PgBouncer."""
    there = make_url(url).set(host="127.0.0.1", port=port)
    return there.update_query_dict({"sslmode": "disable"}).render_as_string(hide_password=False)


async def test_pools_that_fit_are_not_worth_a_line(fresh_database: str) -> None:
    await limit(fresh_database, 21)
    assert await shortages(settings_of(fresh_database, database_pool_size=10), 2) == []


@pytest.mark.parametrize("name", ["database_url", "database_read_url"])
async def test_one_connection_too_many_is_a_sentence(fresh_database: str, name: str) -> None:
    """The smallest limit counts, here that of the database; the one for /readyz is in the sum."""
    await limit(fresh_database, 20)
    urls = {"database_url": "postgresql://a:b@127.0.0.1:1/c"} | {name: fresh_database}
    settings = Settings.model_validate(urls | {"environment": "testing", "database_pool_size": 10})
    [sentence] = await shortages(settings, 2)
    assert sentence.startswith(
        f"{name.upper()}: 2 x DATABASE_POOL_SIZE=10 and one for /readyz are 21 connections, but"
    )
    assert f"{make_url(fresh_database).database} lets this role have 20: lower" in sentence


async def test_the_servers_own_limit_counts_without_what_it_keeps_back(
    fresh_database: str,
) -> None:
    conn = await asyncpg.connect(fresh_database)
    names = ("max_connections", "superuser_reserved_connections", "reserved_connections")
    most, *kept = [
        int(await conn.fetchval("SELECT coalesce(current_setting($1, true), '0')", name))
        for name in names
    ]
    role_limit = await conn.fetchval("SELECT rolconnlimit FROM pg_roles WHERE rolname = user")
    await conn.close()
    assert role_limit == -1
    fitting = most - sum(kept) - 1
    assert await shortages(settings_of(fresh_database, database_pool_size=fitting), 1) == []
    assert await shortages(settings_of(fresh_database, database_pool_size=fitting + 1), 1) != []


@needs_pgbouncer
async def test_behind_a_pooler_nothing_is_known(server_url: URL, fresh_database: str) -> None:
    await limit(fresh_database, 2)
    with bouncer(server_url) as port:
        assert await shortages(settings_of(through(port, fresh_database)), 50) == []


async def test_a_server_that_is_away_is_no_shortage() -> None:
    assert await shortages(settings_of("postgresql://a:b@127.0.0.1:1/c"), 1000) == []


@pytest.mark.slow
async def test_serve_says_it_once_and_serves(fresh_database: str) -> None:
    """One line of the log, whatever the number of workers, and all of them end with the parent."""
    await limit(fresh_database, 10)
    values = {
        "DATABASE_URL": fresh_database,
        "DATABASE_POOL_SIZE": "5",
        "ENVIRONMENT": "testing",
        "LOG_FORMAT": "json",
    }
    command = [sys.executable, "-m", "tests.service.cli", "serve", "--port", "0", "--workers", "2"]
    with subprocess.Popen(  # noqa: ASYNC220
        command, cwd=PROJECT, env=os.environ | values, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while sum("startup complete" in line for line in lines) < 2:
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        process.send_signal(signal.SIGTERM)
        lines += process.stdout.readlines()
    events = [json.loads(line) for line in lines]
    assert [event["level"] for event in events if "PgBouncer" in event["event"]] == ["warning"]
    assert events[0]["event"].startswith("DATABASE_URL: 2 x DATABASE_POOL_SIZE=5 and one")
    assert sum(event["event"] == "draining" for event in events) == 2


@asynccontextmanager
async def asking(url: str, *, pgbouncer: bool = False) -> AsyncIterator[FastAPI]:
    """An app with a route that asks the database."""
    dal = DataAccessLayer()
    engine = create_engine(url, pool_size=1, statement_timeout=30, pgbouncer=pgbouncer)
    dal.use(engine)
    app = FastAPI(
        middleware=[Middleware(TransactionMiddleware, dal=dal)],
        exception_handlers=problem_handlers,
    )

    @app.get("/one")
    async def one(tx: ReadTransaction) -> int:
        return int(await tx.fetch_value(sa.select(1)))

    yield app
    await engine.dispose()


async def refused_until(app: FastAPI, conns: list[asyncpg.Connection]) -> None:
    """It answers 503 while the connections are there, and 200 when they are gone."""
    async with calling(app) as client:
        answer = await client.get("/one")
        assert answer.status_code == 503, answer.text
        assert answer.headers["retry-after"] == "1"
        for conn in conns:
            await conn.close()
        async with asyncio.timeout(20):  # the other side hears of it a little later
            while (await client.get("/one")).status_code != 200:
                await asyncio.sleep(0.02)


async def test_a_server_without_a_connection_left_answers_503(fresh_database: str) -> None:
    await limit(fresh_database, 1)
    conn = await asyncpg.connect(fresh_database)
    async with asking(fresh_database) as app:
        await refused_until(app, [conn])


@needs_pgbouncer
async def test_a_pgbouncer_with_too_many_clients_answers_503(
    server_url: URL, fresh_database: str
) -> None:
    conns = []
    with bouncer(server_url, "max_client_conn = 3\n") as port:
        url = through(port, fresh_database)
        with pytest.raises(asyncpg.ProtocolViolationError, match="max_client_conn"):
            while True:
                conns.append(await asyncpg.connect(url, statement_cache_size=0))
        async with asking(url, pgbouncer=True) as app:
            await refused_until(app, conns)


@needs_pgbouncer
async def test_a_pgbouncer_whose_servers_are_all_taken_answers_503(
    server_url: URL, fresh_database: str
) -> None:
    """After its query_wait_timeout, in seconds."""
    with bouncer(server_url, "default_pool_size = 1\nquery_wait_timeout = 1\n") as port:
        url = through(port, fresh_database)
        conn = await asyncpg.connect(url, statement_cache_size=0)
        await conn.execute("BEGIN")
        async with asking(url, pgbouncer=True) as app:
            await refused_until(app, [conn])
