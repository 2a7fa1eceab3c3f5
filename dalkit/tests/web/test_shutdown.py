"""Leaving without dropping anybody: a real uvicorn gets real signals."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Self
from urllib.parse import urlsplit

import httpx
import pytest

from dalkit.web.shutdown import Shutdown

from tests.server_process import Server, ready, serving

pytestmark = pytest.mark.slow


async def until(server: Server, status: int) -> None:
    """Ask /readyz until it answers `status`.

    Raises httpx.NetworkError when nobody listens: ConnectError, or ReadError for the one connection
    that Linux had accepted and nobody took before the listener was closed.
    """
    async with asyncio.timeout(20):
        while (await server.get("/readyz")).status_code != status:
            await asyncio.sleep(0.02)


async def test_readiness_ends_before_the_listener_closes() -> None:
    """Requests under way are answered, and new ones too until `SHUTDOWN_DELAY` is over.

    From first to last, every line that the process writes is JSON, and none is about telemetry
    that nobody asked for.
    """
    with serving(delay=4.0) as server:
        await ready(server)
        upload = await Upload.begun(server.url)
        server.signal(signal.SIGTERM)
        await until(server, 503)
        assert (await server.get("/slow/0")).status_code == 200
        # Refused, reset, or closed before it was read: what was in the backlog of the listener.
        with pytest.raises(httpx.TransportError):
            await until(server, 0)
        with pytest.raises(httpx.ConnectError):
            await server.get("/readyz")
        upload.end()
        assert await upload.rest() == b"0\r\n\r\n"
        upload.close()
        lines = (await server.output()).splitlines()
    events = [json.loads(line)["event"] for line in lines]
    assert events[0].startswith("Started server process")
    assert "the lifespan is over" in events
    assert events[-1].startswith("Finished server process")
    assert not any("telemetry" in event.lower() or "otel" in event.lower() for event in events)


async def test_a_second_signal_quits() -> None:
    """Neither the delay nor the requests under way are waited for."""
    with serving(delay=600) as server:
        await ready(server)
        upload = await Upload.begun(server.url)
        server.signal(signal.SIGINT)
        await until(server, 503)
        server.signal(signal.SIGTERM)
        await server.output(within=60)
        assert await upload.rest() == b""
        upload.close()


class Upload:
    """A request that is under way for as long as its client likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.process = 0

    @classmethod
    async def begun(cls, url: str) -> Self:
        """One whose answer has begun."""
        address = urlsplit(url)
        it = cls(*await asyncio.open_connection(address.hostname, address.port))
        head = b"POST /echo/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        it._writer.write(head + b"5\r\nbegun\r\n")
        async with asyncio.timeout(30):
            head = await it._reader.readuntil(b"begun\r\n")
        it.process = int(head.partition(b"x-process: ")[2].partition(b"\r\n")[0])
        return it

    async def rest(self) -> bytes:
        """What else there is of its answer."""
        async with asyncio.timeout(60):
            with suppress(ConnectionError):
                return await self._reader.read()
        return b""

    def end(self) -> None:
        """Send what is missing."""
        self._writer.write(b"0\r\n\r\n")

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def uploading() -> AsyncIterator[tuple[Server, list[Upload]]]:
    """Two workers, each with a request under way: one without any would end before the other."""
    with serving(workers=2) as server:
        for _ in range(2):
            await server.lines(until="Application startup complete")
        await ready(server)
        uploads: list[Upload] = []
        async with asyncio.timeout(60):
            while len({upload.process for upload in uploads}) < 2:
                uploads.append(await Upload.begun(server.url))
        yield server, uploads
        for upload in uploads:
            upload.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_to_the_whole_process_group_is_one_stop(number: signal.Signals) -> None:
    """Each worker gets it twice: by itself, and from its parent."""
    async with uploading() as (server, uploads):
        server.signal_group(number)
        lines = [line for _ in range(2) for line in await server.lines(until="Terminated child")]
        for upload in uploads:
            upload.end()
        assert [await upload.rest() for upload in uploads] == [b"0\r\n\r\n"] * len(uploads)
        lines += await server.lines()
    assert sum("draining" in line for line in lines) == 2
    assert not any("quitting" in line for line in lines)


async def test_a_worker_that_ends_without_an_answer_is_replaced_at_once() -> None:
    """The parent has asked whether it lives, and would wait for minutes, deaf to signals."""
    with serving(workers=2, first="stop_the_first_that_is_asked") as server:
        *_, asking = lines = await server.lines(until="asking [")
        worker = numbers([asking])[0]
        os.kill(worker, signal.SIGKILL)
        lines += await server.lines(until=f"Child process [{worker}] died")
        while len({*started(lines)} - {worker}) < 2:
            lines += await server.lines(until="Started server process")


def started(lines: list[str]) -> list[int]:
    """The processes that have started to serve."""
    return numbers([line for line in lines if "Started server process" in line])


def numbers(lines: list[str]) -> list[int]:
    """The processes that these lines name in brackets."""
    return [int(line.rpartition("[")[2].partition("]")[0]) for line in lines]


async def test_a_second_ctrl_c_hurries_the_workers() -> None:
    async with uploading() as (server, uploads):
        server.signal_group(signal.SIGINT)
        for _ in range(2):
            await server.lines(until="Terminated child")
        server.signal_group(signal.SIGINT)
        lines = await server.lines()
        assert [await upload.rest() for upload in uploads] == [b""] * len(uploads)
    assert sum("quitting" in line for line in lines) == 2


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """Signals as a server would handle them, and the test's own handlers afterwards."""
    seen: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, lambda number, frame: seen.append(number))
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_without_a_delay_the_server_gets_the_signal_at_once(
    signals: list[int], number: signal.Signals
) -> None:
    async with Shutdown(delay=0) as shutdown:
        assert not shutdown.draining
        signal.raise_signal(number)
        await asyncio.sleep(0.05)
        assert shutdown.draining
    assert signals == [number]


async def test_the_server_s_handlers_are_put_back(signals: list[int]) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    async with Shutdown(delay=0):
        assert signal.getsignal(signal.SIGTERM) is not handler
    assert signal.getsignal(signal.SIGTERM) is handler


async def test_without_a_server_signals_are_left_alone() -> None:
    """In a test or a script nobody would close anything after the delay."""
    before = signal.getsignal(signal.SIGINT)
    async with Shutdown(delay=0):
        assert signal.getsignal(signal.SIGINT) is before
