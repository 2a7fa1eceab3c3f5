"""What is on the wire and what is in the database, seen by a client and a second connection."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
import websockets
from fastapi import FastAPI
from sqlalchemy import make_url

from dalkit import DataAccessLayer, Transaction, TransactionMiddleware
from dalkit.settings import Settings
from dalkit.web.request import RequestTransaction

from tests.serving import Cutter, serving
from tests.web.request_path import TABLES, create_test_app

PROBLEM = "application/problem+json"
#: How many wait for what this connection has locked. (pg_stat_activity stands still in it.)
WAITING = """
SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))
"""


@pytest.fixture
async def observer(committed_database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of its own to the database that the application writes to."""
    conn = await asyncpg.connect(committed_database)
    await conn.execute(TABLES)
    yield conn
    await conn.close()


@pytest.fixture
async def url(observer: asyncpg.Connection, committed_database: str) -> AsyncIterator[str]:
    """The base URL of the application."""
    async with serving(create_test_app(_settings(committed_database))) as it:
        yield it


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client on a real socket."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client


def _settings(database_url: str, **values: Any) -> Settings:
    return Settings(
        _env_file=None, environment="testing", database_url=database_url, log_level="CRITICAL"
    ).model_copy(update=values)


async def _count(observer: asyncpg.Connection) -> Any:
    return await observer.fetchval("SELECT count(*) FROM thing")


async def test_an_acknowledged_write_is_visible_to_others_at_once(
    http: httpx.AsyncClient, observer: asyncpg.Connection
) -> None:
    seen = 0
    for number in range(1000):
        response = await http.post(f"/things/{number}")
        assert response.status_code == 201
        seen += await observer.fetchval("SELECT count(*) FROM thing WHERE id = $1", number)
    assert seen == 1000


async def test_a_commit_that_fails_is_answered_with_its_reason(
    http: httpx.AsyncClient, observer: asyncpg.Connection
) -> None:
    response = await http.post("/deferred")
    assert (response.status_code, response.headers["content-type"]) == (409, PROBLEM)
    assert response.json()["errors"][0]["loc"] == ["body", "thing_id"]
    assert await observer.fetchval("SELECT count(*) FROM part") == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/returned/1", 409),
        ("/raised/1", 418),
        ("/crashed/1", 500),
        ("/invalid/1", 500),
        ("/swallowed/1", 500),
        ("/read-only/1", 500),
        ("/ended?how=commit", 500),
        ("/ended?how=rollback", 500),
        ("/ended?how=close", 500),
        ("/decided?how=commit", 500),
        ("/decided?how=rollback", 500),
    ],
)
async def test_an_answer_of_400_or_above_leaves_no_row(
    http: httpx.AsyncClient, observer: asyncpg.Connection, path: str, status: int
) -> None:
    response = await http.post(path)
    assert response.status_code == status
    assert await _count(observer) == 0
    assert await _taken(http) == 0


async def test_a_commit_whose_answer_is_lost_is_not_acknowledged(
    observer: asyncpg.Connection, committed_database: str
) -> None:
    target = make_url(committed_database)
    proxy = Cutter(str(target.host), int(target.port or 5432))
    async with proxy.listening() as port:
        through = target.set(port=port, query={"sslmode": "disable"})
        app = create_test_app(_settings(through.render_as_string(hide_password=False)))
        async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
            proxy.cuts = True
            response = await http.post("/things/1")
            assert (response.status_code, response.headers["content-type"]) == (503, PROBLEM)
            assert await _count(observer) == 0
            proxy.cuts, proxy.delay = False, 0.3
            assert (await http.post("/things/2")).status_code == 201
            assert await _count(observer) == 1
    assert proxy.seen >= 2


async def test_a_background_task_sees_the_committed_row(
    http: httpx.AsyncClient, observer: asyncpg.Connection
) -> None:
    assert (await http.post("/background/7")).status_code == 201
    assert await _eventually(observer, "SELECT n FROM thing WHERE id = -7") == 1


async def test_a_background_task_does_not_run_when_commit_fails(
    http: httpx.AsyncClient, observer: asyncpg.Connection
) -> None:
    assert (await http.post("/background/1000")).status_code == 409
    assert (await http.post("/background/8")).status_code == 201
    assert await _eventually(observer, "SELECT n FROM thing WHERE id = -8") == 1
    assert await observer.fetchval("SELECT count(*) FROM thing WHERE id = -1000") == 0


async def test_the_transaction_is_over_after_the_response(
    http: httpx.AsyncClient, observer: asyncpg.Connection
) -> None:
    await http.post("/late/1")
    assert await _taken(http) == 0
    assert await _count(observer) == 0


async def test_a_stream_holds_its_connection_until_the_last_byte(http: httpx.AsyncClient) -> None:
    async with http.stream("GET", "/numbers", params={"count": 20_000}) as response:
        lines = response.aiter_lines()
        assert await anext(lines) == '{"n": 1}'
        assert await _taken(http) == 1
        count = 1 + len([line async for line in lines])
    assert count == 20_000
    assert await _released(http)


async def test_streams_that_nobody_reads_hold_half_of_the_pool_and_not_for_long(
    observer: asyncpg.Connection, committed_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = TransactionMiddleware.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "client_timeout", 2.0)
    app = create_test_app(_settings(committed_database, database_pool_size=4))
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        port = int(url.rsplit(":", 1)[1])
        deaf = [await asyncio.open_connection("127.0.0.1", port, limit=1000) for _ in range(2)]
        for reader, writer in deaf:
            writer.write(b"GET /pages?count=10000 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")
        one_more = await http.get("/numbers", params={"count": 1})
        assert (one_more.status_code, one_more.headers["retry-after"]) == (503, "1")
        assert (await http.post("/things/1")).status_code == 201  # the other half is free
        assert await _taken(http) == 2
        assert await _released(http)
        for _, writer in deaf:
            writer.close()
        assert (await http.get("/numbers", params={"count": 1})).status_code == 200


async def test_a_client_that_goes_away_leaves_no_connection_checked_out(
    http: httpx.AsyncClient, url: str
) -> None:
    async with http.stream("GET", "/numbers", params={"count": 10_000_000}) as response:
        assert await anext(response.aiter_lines()) == '{"n": 1}'
    assert await _released(http)
    _, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
    writer.write(b"POST /slow/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.close()
    assert await _released(http)


async def test_conflicting_requests_run_again_with_their_body_and_one_set_of_effects(
    url: str, http: httpx.AsyncClient, observer: asyncpg.Connection
) -> None:
    await observer.execute("INSERT INTO thing VALUES (1, 0)")
    body = {"by": 1, "ballast": "x" * 100_000}
    responses = await asyncio.gather(*(http.post("/increment", json=body) for _ in range(200)))
    assert [response.status_code for response in responses] == [200] * 200
    assert await observer.fetchval("SELECT n FROM thing WHERE id = 1") == 200


async def test_effects_of_a_replayed_request_happen_once(
    observer: asyncpg.Connection, committed_database: str
) -> None:
    await observer.execute("INSERT INTO thing VALUES (1, 0)")
    app = create_test_app(_settings(committed_database))
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        body = {"by": 1, "ballast": "x" * 10}
        await asyncio.gather(*(http.post("/increment", json=body) for _ in range(20)))
    assert app.state.done == [10] * 20


async def test_a_websocket_has_no_request_transaction(url: str) -> None:
    with pytest.raises(websockets.exceptions.InvalidStatus):
        async with websockets.connect(url.replace("http", "ws") + "/socket"):
            pass


async def test_a_transaction_without_its_middleware_is_a_loud_error() -> None:
    app = FastAPI()

    @app.get("/")
    async def read(tx: Transaction) -> None: ...

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        with pytest.raises(RuntimeError, match="TransactionMiddleware"):
            await client.get("/")


async def test_sigterm_loses_no_request_in_flight(
    observer: asyncpg.Connection, committed_database: str
) -> None:
    """All wait for the observer's transaction until the server has begun to shut down."""
    async with (
        _process(committed_database) as (process, url),
        httpx.AsyncClient(base_url=url, timeout=60) as http,
    ):
        holding = observer.transaction()
        await holding.start()
        await observer.execute("INSERT INTO thing SELECT generate_series(0, 4)")
        requests = [asyncio.create_task(http.post(f"/slow/{number}")) for number in range(5)]
        async with asyncio.timeout(60):
            while await observer.fetchval(WAITING) < 5:
                await asyncio.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            while b"Shutting down" not in await _line(process):
                pass
        await holding.rollback()
        statuses = [response.status_code for response in await asyncio.gather(*requests)]
        assert await asyncio.wait_for(process.wait(), 60) in (0, -signal.SIGTERM)
    assert statuses == [201] * 5
    assert await _count(observer) == 5


@asynccontextmanager
async def _process(database_url: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The application in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "--factory", "tests.web.request_path:create_test_app"),
        *("--port", "0", "--host", "127.0.0.1"),
        env=os.environ | {"DATABASE_URL": database_url, "LOG_FORMAT": "json"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            while not (url := re.search(rb"running on (http://[\d.:]+)", await _line(process))):
                pass
        yield process, url[1].decode()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stderr is not None
    line = await process.stderr.readline()
    assert line, "the application ended"
    return line


async def _eventually(observer: asyncpg.Connection, query: str) -> Any:
    async with asyncio.timeout(5):
        while (value := await observer.fetchval(query)) is None:
            await asyncio.sleep(0.01)
    return value


async def _released(http: httpx.AsyncClient) -> bool:
    async with asyncio.timeout(5):
        while await _taken(http):
            await asyncio.sleep(0.02)
    return True


async def _taken(http: httpx.AsyncClient) -> Any:
    """Connections that are checked out; uvicorn closes the client's own socket after a crash."""
    async with httpx.AsyncClient(base_url=http.base_url) as client:
        return (await client.get("/idle")).json()["taken"]


async def test_a_stream_that_is_asked_for_too_late_takes_no_place(
    db: DataAccessLayer,
) -> None:
    transaction = RequestTransaction(db)
    await transaction.finish(commit=False, over="It is over.")
    for late in (transaction.reserve, transaction.hold_open):
        with pytest.raises(RuntimeError, match="It is over"):
            late()
    for _ in range(100):  # nothing is counted: there is still place
        other = RequestTransaction(db)
        other.reserve()
        await other.finish(commit=False, over="It is over.")
