"""What `serve` accepts on a socket, and how long it waits for it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import websockets
from fastapi import FastAPI, Request, Response, WebSocket

from dalkit import protocol

from tests.serving import serving

GET = b"GET /headers HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /length HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"


def create_app() -> FastAPI:
    """An app that tells what it got."""
    app = FastAPI()

    @app.get("/headers")
    async def headers(request: Request) -> dict[str, str]:
        return dict(request.headers)

    @app.post("/length")
    async def length(request: Request) -> dict[str, Any]:
        body = await request.body()
        return {"length": len(body), "headers": dict(request.headers)}

    @app.post("/slow")
    async def slow(request: Request) -> int:
        await asyncio.sleep(1)
        return len(await request.body())

    @app.post("/refusing")
    async def refusing() -> Response:
        return Response("refused", 403)

    @app.post("/refusing-late")
    async def refusing_late() -> Response:
        await asyncio.sleep(0.2)
        return Response("refused", 403)

    @app.get("/large")
    async def large() -> Response:
        return Response(b"a" * 50_000_000)

    @app.websocket("/echo")
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            await websocket.send_text(await websocket.receive_text())

    return app


class Connection:
    """A client that writes bytes of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> bytes:
        """One answer, which has a Content-Length."""
        async with asyncio.timeout(30):
            head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return head + await self.reader.readexactly(length)

    async def rest(self) -> bytes:
        """All until the server closes the connection."""
        async with asyncio.timeout(30):
            return await self.reader.read()


@pytest.fixture(autouse=True)
def _short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused clients read at once here; the server's end would wait for them."""
    monkeypatch.setattr(protocol, "LINGER", 0.1)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with serving(create_app()) as it:
        yield it


@pytest.fixture
async def connection(url: str) -> AsyncIterator[Connection]:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    yield Connection(reader, writer)
    writer.close()


async def test_a_head_up_to_64_kib_is_taken(connection: Connection) -> None:
    long = b"x-long: " + b"a" * 60_000 + b"\r\n"
    for size in (len(GET + long), 1_000):
        head = GET + long + b"\r\n"
        for start in range(0, len(head), size):
            await connection.send(head[start : start + size])
        assert (await connection.answer()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "head",
    [
        GET + b"x-long: " + b"a" * 66_000 + b"\r\n\r\n",
        GET + b"x: y\r\n" * 12_000 + b"\r\n",
        b"GET /" + b"a" * 66_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        GET + b"x-endless: " + b"a" * 200_000,
    ],
    ids=["a header", "many headers", "a path", "without end"],
)
@pytest.mark.parametrize("before", [b"", GET + b"\r\n"], ids=["first", "second"])
async def test_a_longer_head_is_431(connection: Connection, head: bytes, before: bytes) -> None:
    if before:
        await connection.send(before)
        await connection.answer()
    await connection.send(head)
    assert (await connection.rest()).startswith(b"HTTP/1.1 431 ")


async def test_what_follows_a_refused_head_is_not_looked_at(connection: Connection) -> None:
    await connection.send(GET + b"x: " + b"a" * 66_000 + b"\r\n\r\n" + GET + b"\r\n")
    assert (await connection.rest()).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /headers HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /headers HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        (b"GET /headers HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", b"400"),
        (b"GET /headers HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        (b"GET /headers HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", b"200"),
        (b"GET /headers HTTP/1.0\r\n\r\n", b"200"),
        (b"GET /headers HTTP/1.0\r\nHost: [::1]:80\r\n\r\n", b"200"),
        (b"GET /headers HTTP/1.0\r\nHost: a.example:80\r\n\r\n", b"200"),
        (b"GET /headers HTTP/1.1\r\nHost: a b\r\n\r\n", b"400"),
        (b"GET /headers HTTP/1.1\r\nHost: a/b\r\n\r\n", b"400"),
        (b"GET /headers HTTP/1.0\r\nHost: a@b\r\n\r\n", b"400"),
        (b"GET /headers HTTP/2.0\r\nHost: a\r\n\r\n", b"505"),
        (b"GET /headers\r\n\r\n", b"505"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
async def test_there_is_one_host(connection: Connection, head: bytes, status: bytes) -> None:
    await connection.send(head)
    assert (await connection.rest()).startswith(b"HTTP/1.1 " + status)


async def test_trailers_are_no_headers(connection: Connection) -> None:
    await connection.send(CHUNKED + b"Authorization: Bearer x\r\nHost: y\r\n\r\n")
    answer = await connection.answer()
    assert b'"length":5' in answer
    assert b"authorization" not in answer
    assert b'"host":"x"' in answer
    await connection.send(GET + b"\r\n")
    assert b"authorization" not in await connection.answer()


async def test_an_endless_trailer_is_refused(connection: Connection) -> None:
    await connection.send(CHUNKED + b"x-endless: " + b"a" * 200_000)
    assert (await connection.rest()).startswith(b"HTTP/1.1 4")


async def test_a_large_body_is_taken(connection: Connection) -> None:
    size = 5_000_000
    await connection.send(POST + b"Content-Length: %d\r\n\r\n" % size)
    for _ in range(50):
        await connection.send(b"a" * (size // 50))
    assert b'"length":%d' % size in await connection.answer()
    await connection.send(POST + b"Content-Length: 2\r\n\r\nab")
    assert b'"length":2' in await connection.answer()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timeouts of less than a second."""
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT", 0.3)
    monkeypatch.setattr(protocol, "BODY_TIMEOUT", 0.3)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"GET /headers HTT", b"HTTP/1.1 408 "),
        (GET, b"HTTP/1.1 408 "),
        (GET + b"x-half: a", b"HTTP/1.1 408 "),
        (POST + b"Content-Length: 9\r\n\r\nhalf", b"HTTP/1.1 408 "),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhe", b"HTTP/1.1 408 "),
    ],
)
@pytest.mark.parametrize("before", [False, True], ids=["first", "second"])
async def test_what_does_not_arrive_ends_the_connection(
    connection: Connection, sent: bytes, answer: bytes, before: bool
) -> None:
    if before:
        await connection.send(GET + b"\r\n")
        await connection.answer()
    await connection.send(sent)
    rest = await connection.rest()
    assert rest.startswith(answer)
    assert bool(rest) == bool(answer)


@pytest.mark.usefixtures("quick")
async def test_a_head_that_drips_is_late_all_the_same(connection: Connection) -> None:
    await connection.send(GET)
    answer = asyncio.create_task(connection.reader.readuntil(b"\r\n"))
    while not answer.done():
        await connection.send(b"x: y\r\n")
        await asyncio.sleep(0.05)
    assert await answer == b"HTTP/1.1 408 Request Timeout\r\n"


@pytest.mark.usefixtures("quick")
async def test_a_body_that_drips_is_late_all_the_same(connection: Connection) -> None:
    await connection.send(POST + b"Content-Length: 100000\r\n\r\n")
    answer = asyncio.create_task(connection.reader.readuntil(b"\r\n"))
    while not answer.done():
        await connection.send(b"a")
        await asyncio.sleep(0.05)
    assert await answer == b"HTTP/1.1 408 Request Timeout\r\n"


@pytest.mark.usefixtures("quick")
async def test_a_client_is_not_late_while_nobody_asks_it(connection: Connection) -> None:
    head = POST.replace(b"/length", b"/slow") + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    await connection.send(head)
    assert await connection.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await connection.send(b"body")
    assert (await connection.answer()).endswith(b"\r\n\r\n4")


@pytest.mark.parametrize("path", [b"/refusing", b"/refusing-late"])
async def test_an_answer_before_the_end_of_the_body_is_not_lost(
    connection: Connection, path: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed with bytes unread, the connection would be reset (RFC 9112, section 9.6)."""
    monkeypatch.setattr(protocol, "LINGER", 20)
    size = 20_000_000
    head = (
        POST.replace(b"/length", path) + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % size
    )
    await connection.send(head)
    await connection.send(b"a" * size)
    assert (await connection.rest()).startswith(b"HTTP/1.1 403 ")


EXPECTING = b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"


async def test_an_http_1_0_client_is_not_told_to_continue(connection: Connection) -> None:
    """It would take that for the answer (RFC 9110, section 10.1.1)."""
    await connection.send(POST.replace(b"1.1", b"1.0") + EXPECTING + b"hello")
    rest = await connection.rest()
    assert rest.startswith(b"HTTP/1.1 200 ")
    assert b'"length":5' in rest


@pytest.mark.parametrize("then", [b"", b"hello", GET + b"\r\n"], ids=["none", "body", "request"])
async def test_an_answer_instead_of_continue_ends_the_connection(
    connection: Connection, then: bytes
) -> None:
    """The next request would be taken for the body (RFC 9110, section 10.1.1)."""
    await connection.send(POST.replace(b"/length", b"/refusing") + EXPECTING)
    answer = await connection.reader.readuntil(b"refused")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"connection: close\r\n" in answer
    await connection.send(then)
    assert await connection.rest() == b""


async def test_a_body_that_did_not_wait_for_continue_keeps_the_connection(
    connection: Connection,
) -> None:
    for _ in range(2):
        await connection.send(POST.replace(b"/length", b"/refusing") + EXPECTING + b"hello")
        assert (await connection.answer()).endswith(b"refused")


@pytest.mark.usefixtures("quick")
async def test_a_slow_answer_is_not_a_late_request(connection: Connection) -> None:
    await connection.send(POST.replace(b"/length", b"/slow") + b"Content-Length: 4\r\n\r\nbody")
    assert (await connection.answer()).endswith(b"\r\n\r\n4")


@pytest.mark.usefixtures("quick")
async def test_a_websocket_stays_open(url: str) -> None:
    async with websockets.connect(url.replace("http", "ws") + "/echo") as socket:
        await asyncio.sleep(1)
        await socket.send("still there")
        assert await socket.recv() == "still there"


WEBSOCKET = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.mark.parametrize(
    "head",
    [
        POST + WEBSOCKET + b"\r\n",
        POST + WEBSOCKET + b"Content-Length: 4\r\n\r\nbody",
        POST + WEBSOCKET + b"Content-Length: 4\r\n\r\n",
        POST + WEBSOCKET + b"Transfer-Encoding: chunked\r\n\r\n",
        GET + WEBSOCKET + b"Content-Length: 4\r\n\r\nbody",
        GET + WEBSOCKET + b"x-long: " + b"a" * 10_000 + b"\r\n\r\n",
        GET + WEBSOCKET + b"x: y\r\n" * 200 + b"\r\n",
        b"GET /echo HTTP/1.1\r\nHost: a b\r\n" + WEBSOCKET + b"\r\n",
        GET + WEBSOCKET.replace(b"Key", b"Keys") + b"\r\n",
    ],
    ids=[
        *("no GET", "a body", "a late body", "a chunked body", "a GET with a body"),
        *("a long header", "many headers", "no host", "no key"),
    ],
)
async def test_a_handshake_that_cannot_be_answered_is_refused(
    connection: Connection, head: bytes
) -> None:
    """The library for WebSockets would say nothing, and nobody would close the connection."""
    await connection.send(head)
    assert (await connection.rest()).startswith(b"HTTP/1.1 4")


async def test_a_websocket_behind_an_unanswered_request_is_refused(connection: Connection) -> None:
    slow = POST.replace(b"/length", b"/slow") + b"Content-Length: 4\r\n\r\nbody"
    await connection.send(slow + GET.replace(b"/headers", b"/echo") + WEBSOCKET + b"\r\n")
    rest = await connection.rest()
    assert rest.startswith(b"HTTP/1.1 200 ")
    assert rest.endswith(b"\r\n\r\n4")


OFFER = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
WITH_BODY = POST + OFFER + b"Content-Length: %d\r\n\r\n%b" % (len(HIDDEN), HIDDEN)
CHUNKED_BODY = POST + OFFER + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 60, 1000])
async def test_another_protocol_is_not_taken_up(connection: Connection, size: int) -> None:
    """Java's client offers HTTP/2 so: a body is no request, and what follows is as before."""
    sent = GET + OFFER + b"\r\n" + WITH_BODY + GET + b"\r\n" + CHUNKED_BODY + WITH_BODY
    for start in range(0, len(sent), size):
        await connection.send(sent[start : start + size])
    for part in (b'"host"', b'"length":%d' % len(HIDDEN), b'"host"', b'"length":5', b'"length"'):
        answer = await connection.answer()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert part in answer
        assert b'"upgrade"' not in answer
    await connection.send(GET + b"\r\n")
    assert (await connection.answer()).startswith(b"HTTP/1.1 200 ")


async def test_a_refusal_waits_for_the_answer_before_it(connection: Connection) -> None:
    slow = POST.replace(b"/length", b"/slow") + b"Content-Length: 4\r\n\r\nbody"
    await connection.send(slow + b"GET / HTTP/1.1\r\n\r\n")
    rest = await connection.rest()
    assert rest.startswith(b"HTTP/1.1 200 ")
    assert rest.endswith(b"\r\n\r\n4")


@pytest.mark.parametrize(
    "bad",
    [
        b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        GET + b"\r\nGET / HTTP/1.1\r\n\r\n",
    ],
    ids=["connect", "no path", "a broken body", "behind another one"],
)
async def test_what_is_refused_behind_a_request_leaves_its_answer_alone(
    connection: Connection, bad: bytes
) -> None:
    slow = POST.replace(b"/length", b"/slow") + b"Content-Length: 4\r\n\r\nbody"
    await connection.send(slow + bad)
    rest = await connection.rest()
    assert rest.startswith(b"HTTP/1.1 200 ")
    assert rest.partition(b"\r\n\r\n")[2].startswith(b"4")


async def test_a_client_that_takes_nothing_is_left(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "TAKE_TIMEOUT", 0.3)
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1000)
    writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(1)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await reader.readexactly(50_000_000)
    writer.close()
