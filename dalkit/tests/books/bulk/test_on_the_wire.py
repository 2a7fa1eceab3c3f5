"""Clients that leave, on a real socket; the service has one connection to its database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select

from dalkit import DataAccessLayer, ReadTransaction, TransactionMiddleware
from dalkit.bulk import load
from dalkit.data.engine import create_engine
from dalkit.web import BodyLimitMiddleware, problem_handlers

from tests.service.books.bulk import router
from tests.serving import serving

BUSY = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"
)


def _app(database_url: str, pool_size: int = 1) -> FastAPI:
    dal = DataAccessLayer()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = create_engine(database_url, pool_size=pool_size, pool_timeout=10)
        await dal.reflect(engine)
        yield
        await engine.dispose()

    app = FastAPI(exception_handlers=problem_handlers, lifespan=lifespan)
    app.add_middleware(TransactionMiddleware, dal=dal)
    app.add_middleware(BodyLimitMiddleware, max_body_size=10_000_000)
    app.include_router(router)
    return app


@pytest.fixture
async def observer(committed_database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of its own, with an author and no books."""
    conn = await asyncpg.connect(committed_database)
    await conn.execute("TRUNCATE author, book RESTART IDENTITY CASCADE")
    await conn.execute("INSERT INTO author (name) VALUES ('Le Guin')")
    yield conn
    await conn.execute("TRUNCATE author, book RESTART IDENTITY CASCADE")
    await conn.close()


@pytest.fixture
async def url(observer: asyncpg.Connection, committed_database: str) -> AsyncIterator[str]:
    """Where the service listens."""
    async with serving(_app(committed_database)) as it:
        yield it


async def _settled(observer: asyncpg.Connection) -> None:
    async with asyncio.timeout(10):
        while await observer.fetchval(BUSY) > 1:
            await asyncio.sleep(0.02)


async def _upload(url: str, catalog: str) -> httpx.Response:
    file = f"catalog,title,author_id\n{catalog},T,1\n"
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        return await client.post(
            "/library/bulk", content=file, headers={"content-type": "text/csv"}
        )


async def test_an_upload_that_breaks_off_stores_nothing(
    url: str, observer: asyncpg.Connection
) -> None:
    parts = urlsplit(url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(
        b"POST /library/bulk HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
        b"Content-Length: 9999999\r\n\r\ncatalog,title,author_id\n"
    )
    for number in range(20_000):
        writer.write(b"%d,T,1\n" % number)
    await writer.drain()
    async with asyncio.timeout(10):
        while await observer.fetchval(BUSY) < 2:
            await asyncio.sleep(0.02)
    writer.transport.abort()
    await _settled(observer)
    assert await observer.fetchval("SELECT count(*) FROM book") == 0
    assert (await _upload(url, "a")).json()["inserted"] == 1


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Routes that wait for their client a moment only."""
    for function in (load, TransactionMiddleware.__init__):
        monkeypatch.setitem(function.__kwdefaults__ or {}, "client_timeout", 0.3)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("begun", [b"", b"catalog,title,author_id\na,T,1\n"])
async def test_an_upload_that_stands_still_is_given_up(
    url: str, observer: asyncpg.Connection, begun: bytes
) -> None:
    """It is answered with 408, and its connection goes back."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(
        b"POST /library/bulk HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
        b"Content-Length: 9999999\r\n\r\n" + begun
    )
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    await _settled(observer)
    assert (await _upload(url, "a")).json()["inserted"] == 1
    writer.close()


@pytest.mark.usefixtures("impatient")
async def test_a_client_that_does_not_read_is_given_up(
    url: str, observer: asyncpg.Connection
) -> None:
    """Its download is cut short and its connection goes back, while it still holds the socket."""
    await _fill(observer)
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1000)
    writer.write(b"GET /library/export HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    try:
        async with asyncio.timeout(20):
            while (uploaded := await _upload(url, "a")).status_code == 503:
                await asyncio.sleep(0.1)  # the download has its place until it is given up
        assert uploaded.json()["inserted"] == 1
        with pytest.raises(asyncio.IncompleteReadError):
            while True:
                await reader.readexactly(1_000_000)
    finally:
        writer.close()


async def test_an_upload_over_the_limit_is_a_413(url: str, observer: asyncpg.Connection) -> None:
    async def file() -> AsyncIterator[bytes]:
        yield b"catalog,title,author_id\n"
        for number in range(100):
            yield b"%d,%b,1\n" % (number, b"t" * 100) * 1000

    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        answer = await client.post(
            "/library/bulk", content=file(), headers={"content-type": "text/csv"}
        )
    assert answer.status_code == 413
    assert await observer.fetchval("SELECT count(*) FROM book") == 0
    assert (await _upload(url, "a")).json()["inserted"] == 1


async def _fill(observer: asyncpg.Connection) -> None:
    await observer.execute(
        "INSERT INTO book (catalog, title, author_id) "
        "SELECT n, repeat('t', 1000), 1 FROM generate_series(1, 50000) AS n"
    )


async def test_a_download_that_breaks_off_frees_the_connection(
    url: str, observer: asyncpg.Connection
) -> None:
    await _fill(observer)
    async with (
        httpx.AsyncClient(base_url=url, timeout=30) as client,
        client.stream("GET", "/library/export") as answer,
    ):
        assert answer.status_code == 200
        async for _ in answer.aiter_raw(1000):
            break
    await _settled(observer)
    assert (await _upload(url, "a")).json()["inserted"] == 1


async def test_an_uploaded_file_is_there_when_the_answer_is(
    url: str, observer: asyncpg.Connection
) -> None:
    assert (await _upload(url, "a")).status_code == 200
    assert await observer.fetchval("SELECT count(*) FROM book") == 1


async def test_an_export_that_fails_at_once_is_a_problem(
    url: str, observer: asyncpg.Connection
) -> None:
    """Nothing was sent yet: the status can still tell."""
    await observer.execute("ALTER TABLE book RENAME COLUMN title TO heading")
    try:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            answer = await client.get("/library/export")
    finally:
        await observer.execute("ALTER TABLE book RENAME COLUMN heading TO title")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"


async def test_standing_uploads_and_downloads_leave_half_of_the_pool_to_others(
    observer: asyncpg.Connection, committed_database: str
) -> None:
    """Beyond their half a further one is 503 at once, and ordinary requests are answered."""
    await _fill(observer)
    app = _app(committed_database, pool_size=4)

    @app.get("/count")
    async def count(tx: ReadTransaction) -> int:
        return int(await tx.fetch_value(select(func.count()).select_from(tx.get_table("book"))))

    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        parts = urlsplit(url)
        head = b"POST /library/bulk HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
        _, upload = await asyncio.open_connection(parts.hostname, parts.port)
        upload.write(head + b"Content-Length: 9999999\r\n\r\ncatalog,title,author_id\na,T,1\n")
        reader, download = await asyncio.open_connection(parts.hostname, parts.port, limit=1000)
        download.write(b"GET /library/export HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(10):
            while await observer.fetchval(BUSY) < 3:
                await asyncio.sleep(0.02)
        for refused in (await client.get("/library/export"), await _upload(url, "b")):
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "1"
        assert (await client.get("/count")).json() > 0
        for writer in (upload, download):
            writer.transport.abort()
        await _settled(observer)
        assert (await _upload(url, "c")).json()["inserted"] == 1
        assert (await client.get("/library/export")).status_code == 200
