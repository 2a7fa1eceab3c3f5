"""Leaving without dropping anybody: a real uvicorn gets real signals."""

import asyncio
import json
import signal
from collections.abc import Iterator
from time import monotonic

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
    with serving(delay=2.0) as server:
        await ready(server)
        slow = asyncio.create_task(server.get("/slow/4.0"))
        await asyncio.sleep(0.2)
        server.signal(signal.SIGTERM)
        await until(server, 503)
        assert (await server.get("/slow/0")).status_code == 200
        with pytest.raises(httpx.NetworkError):
            await until(server, 0)
        with pytest.raises(httpx.ConnectError):
            await server.get("/readyz")
        assert (await slow).json() == "done"
        lines = (await server.output()).splitlines()
    events = [json.loads(line)["event"] for line in lines]
    assert events[0].startswith("Started server process")
    assert "the lifespan is over" in events
    assert events[-1].startswith("Finished server process")
    assert not any("telemetry" in event.lower() or "otel" in event.lower() for event in events)


async def test_a_second_signal_quits() -> None:
    """Neither the delay nor the requests under way are waited for."""
    with serving(delay=60) as server:
        await ready(server)
        slow = asyncio.create_task(server.get("/slow/60"))
        await asyncio.sleep(0.2)
        server.signal(signal.SIGINT)
        await until(server, 503)
        started = monotonic()
        server.signal(signal.SIGTERM)
        await server.output()
        assert monotonic() - started < 5
        [answer] = await asyncio.gather(slow, return_exceptions=True)
    assert not (isinstance(answer, httpx.Response) and answer.is_success)


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
