"""Connections that are killed, stopped, cut and frozen at every point of a request, many times."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from itertools import product
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
import sqlalchemy as sa
from fastapi import APIRouter, Request
from pydantic import SecretStr

from dalkit import ReadTransaction, SerializableTransaction
from dalkit.fast import wire
from dalkit.settings import Settings
from dalkit.testing.databases import SUPERUSER

from tests.data.proxy import Link, Proxy, proxied
from tests.serving import serving
from tests.soak import rounds
from tests.web.request_path import create_test_app

pytestmark = [pytest.mark.slow, pytest.mark.soak]

#: Connections of the pool, and requests at once of each kind.
SIZE = 3
#: Seconds: the limit of a statement, what the client waits beyond it, and what is given up on.
LIMIT, GRACE, ENOUGH = 0.3, 0.3, 30.0
#: Pieces that a request below sends to PostgreSQL or gets from it, and a few of the next one.
POINTS = range(25)
ROWS = 3_000
TABLES = """
DROP TABLE IF EXISTS entry, counter;
CREATE TABLE entry (id int NOT NULL);
CREATE TABLE counter (n int NOT NULL);
INSERT INTO counter VALUES (0);
"""
routes = APIRouter()


@routes.post("/entries/{number}", status_code=201)
async def add(number: int, tx: SerializableTransaction) -> int:
    """Add an entry and count it; requests at once collide, and run again."""
    entry, counter = tx.get_table("entry"), tx.get_table("counter")
    n = int(await tx.fetch_value(sa.select(counter.c.n)))
    await tx.execute(sa.insert(entry).values(id=number))  # by way of SQLAlchemy
    await tx.fetch_all(sa.update(counter).values(n=n + 1).returning(sa.literal(1)))
    return n + 1


@routes.get("/entries/{number}")
async def count(number: int, tx: ReadTransaction) -> int:
    """How often an entry is there."""
    entry = tx.get_table("entry")
    found = sa.select(sa.func.count()).select_from(entry).where(entry.c.id == number)
    return int(await tx.fetch_value(found))


@routes.get("/taken")
async def taken(request: Request) -> list[int]:
    """Connections that are checked out, places of them, and places of streams."""
    dal = request.state.dal
    slots: Any = dal._checkouts[dal.engine]._slots
    return [dal.engine.pool.checkedout(), SIZE - slots._value, dal._streams]


class Fault:
    """Breaks the first connection that is used after `arm`, before its piece of this number."""

    def __init__(self, proxy: Proxy, observer: asyncpg.Connection) -> None:
        self._proxy = proxy
        self._observer = observer
        self._stopped: int | None = None
        self.done = 0

    def arm(self, kind: str, point: int) -> None:
        """Wait for that piece."""
        victim: Link | None = None
        left = point

        async def watch(link: Link) -> None:
            nonlocal victim, left
            victim = victim or link
            if link is victim:
                left -= 1
                if left == -1:
                    self.done += 1
                    await getattr(self, kind)(link)

        self._proxy.watch = watch

    def heal(self) -> None:
        """Let a process go on that was stopped, and harm nobody any more."""
        self._proxy.watch = None
        if self._stopped is not None:
            os.kill(self._stopped, signal.SIGCONT)
            self._stopped = None

    async def cut(self, link: Link) -> None:
        """Reset it."""
        link.cut()

    async def freeze(self, link: Link) -> None:
        """Forward nothing any more, and close nothing."""
        link.is_lost = True

    async def kill(self, link: Link) -> None:
        """End its backend."""
        await self._observer.execute("SELECT pg_terminate_backend($1)", await self._pid(link))

    async def stop(self, link: Link) -> None:
        """Let its backend stand still."""
        if pid := await self._pid(link):
            os.kill(pid, signal.SIGSTOP)
            self._stopped = pid

    async def _pid(self, link: Link) -> int | None:
        query = "SELECT pid FROM pg_stat_activity WHERE client_port = $1"
        pid: int | None = await self._observer.fetchval(query, link.port)
        return pid


class Clients:
    """Those of one service, and what they were promised."""

    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        self._url = url
        self._http = http
        self._next = 0
        self.promised: set[int] = set()
        self.asked: set[int] = set()

    async def write(self) -> int:
        """Add an entry; what is promised can be read at once."""
        number = self._next = self._next + 1
        self.asked.add(number)
        answer = await self._http.post(f"/entries/{number}")
        if answer.status_code == 201:
            self.promised.add(number)
            read = await self._http.get(f"/entries/{number}")
            assert read.status_code == 503 or read.json() == 1
        else:
            _is_for_now(answer)
        return answer.status_code

    async def read(self) -> None:
        """Stream rows: all of them, or an answer that is broken off."""
        try:
            answer = await self._http.get("/numbers", params={"count": ROWS})
        except httpx.RemoteProtocolError:
            return
        if answer.status_code == 200:
            assert answer.text.count("\n") == ROWS
        else:
            _is_for_now(answer)

    async def leave(self) -> None:
        """Write a part of a request, perhaps all of it, and reset the connection."""
        number = self._next = self._next + 1
        self.asked.add(number)
        address = urlsplit(self._url)
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        request = b"POST /entries/%d HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" % number
        writer.write(request[: random.randint(0, len(request) * 2)])
        await writer.drain()
        await asyncio.sleep(random.random() * 0.02)
        writer.transport.abort()

    async def until_all_is_well(self) -> None:
        """Write until every connection of the pool does its work, and is given back."""
        while {201} != {*await asyncio.gather(*(self.write() for _ in range(SIZE)))}:
            pass
        while (await self._http.get("/taken")).json() != [0, 0, 0]:
            await asyncio.sleep(0.01)


def _is_for_now(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "1"), answer.text


@pytest.fixture
async def observer(committed_database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of its own to the database of the service, with its tables."""
    conn = await asyncpg.connect(committed_database)
    await conn.execute(TABLES)
    yield conn
    await conn.execute("DROP TABLE entry, counter")
    await conn.close()


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "GRACE", GRACE)
    monkeypatch.setattr(wire, "GRACE_OF_COMMIT", 2 * GRACE)


@pytest.mark.usefixtures("_short")
async def test_nothing_is_lost_and_nothing_hangs(
    observer: asyncpg.Connection, committed_database: str
) -> None:
    """Each write that was answered with 201 is there, once; any other is there once or not."""
    kinds = ["kill", "cut", "freeze"] + ["stop"] * (SUPERUSER in os.environ)  # its server is here
    plan = random.Random(7).sample([*product(kinds, POINTS)] * 2, 2 * len(kinds) * len(POINTS))
    async with proxied(committed_database) as (proxy, through):
        settings = Settings(
            _env_file=None,
            environment="testing",
            database_url=SecretStr(through),
            database_pool_size=SIZE,
            database_pool_timeout=2,
            database_connect_timeout=1,
            database_statement_timeout=LIMIT,
        )
        app, fault = create_test_app(settings), Fault(proxy, observer)
        app.include_router(routes)
        async with (
            serving(app) as url,
            httpx.AsyncClient(base_url=url, trust_env=False, timeout=ENOUGH) as http,
        ):
            clients = Clients(url, http)
            await clients.until_all_is_well()
            for kind, point in plan[: rounds(10, 200)]:
                fault.arm(kind, point)
                work = [clients.write, clients.read, clients.leave]
                await asyncio.gather(*(one() for one in work * SIZE))
                fault.heal()
                async with asyncio.timeout(ENOUGH):
                    await clients.until_all_is_well()
    entries = [row["id"] for row in await observer.fetch("SELECT id FROM entry")]
    assert clients.promised <= set(entries) <= clients.asked
    assert len(entries) == len(set(entries)) == await observer.fetchval("SELECT n FROM counter")
    assert fault.done > rounds(10, 200) / 2
