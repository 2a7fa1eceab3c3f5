"""The lines of requests, which are written together."""

import asyncio
import io
import json
import logging
import signal
from typing import Any

import pytest
import structlog
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from fastapi.middleware import Middleware
from opentelemetry.sdk.trace import TracerProvider
from structlog.typing import EventDict

from dalkit.observe import logs
from dalkit.observe.logs import configure_logging, log_request
from dalkit.web import AccessLogMiddleware

from tests.observe.test_logs import Terminal, lines, restored
from tests.server_process import ready, serving

__all__ = ["restored"]  # a fixture of this file too


class Pipe(io.StringIO):
    """Counts what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, text: str) -> int:
        self.writes += bool(text)
        return super().write(text)


def logged() -> Pipe:
    """Return what logs go to from now on; in the test itself, whose own handlers pytest adds."""
    pipe = Pipe()
    configure_logging(stream=pipe)
    return pipe


def flush() -> None:
    """Write what waits, as happens a moment later and at the end of the process."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def without_time(line: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(line)
    assert facts.pop("timestamp").endswith("Z")
    return facts


@pytest.mark.parametrize("other", ["root", "access", "filter", "processor"])
async def test_a_line_is_the_same_whether_or_not_others_listen(other: str) -> None:
    pipe = logged()
    facts = {"status": 200, "path": "/\ud800", "odd": object, "tenant": "b"}
    bound = structlog.contextvars.bound_contextvars(request_id="7", tenant="a", region="eu")
    with bound, TracerProvider().get_tracer("test").start_as_current_span("request"):
        log_request(logging.INFO, facts)
        alone = pipe.writes == 0
        flush()
        seen: list[object] = []
        _listen(other, seen)
        log_request(logging.INFO, facts)
    first, second = pipe.getvalue().splitlines()
    assert alone
    assert without_time(first) == without_time(second)
    assert list(json.loads(first))[:5] == list(json.loads(second))[:5]
    assert len(seen) == 1


def _listen(other: str, seen: list[object]) -> None:
    """Let somebody else take part in logging; `restored` undoes it."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    def process(_: object, __: str, event: EventDict) -> EventDict:
        seen.append(event)
        return event

    def admit(record: logging.LogRecord) -> bool:
        seen.append(record)
        return True

    [handler] = logging.getLogger().handlers
    if other == "filter":
        handler.addFilter(admit)
    elif other == "processor":
        structlog.get_config()["processors"].insert(0, process)
    else:
        logging.getLogger("access" if other == "access" else None).addHandler(Listener())


async def test_lines_are_written_together_and_in_their_order() -> None:
    pipe = logged()
    for status in range(200, 230):
        log_request(logging.INFO, {"status": status})
    assert pipe.writes == 0
    structlog.get_logger("ours").error("broken")
    found = lines(pipe)
    assert [line.get("status") for line in found] == [*range(200, 230), None]
    assert pipe.writes == 2
    assert [line["timestamp"] for line in found] == sorted(line["timestamp"] for line in found)


async def test_a_line_waits_for_a_moment_only() -> None:
    pipe = logged()
    log_request(logging.INFO, {"status": 200})
    async with asyncio.timeout(10):
        while not pipe.writes:
            await asyncio.sleep(0)
    assert lines(pipe)[0]["status"] == 200


async def test_on_a_terminal_a_line_is_there_at_once() -> None:
    stream = Terminal()
    configure_logging(stream=stream)
    log_request(logging.INFO, {"status": 200})
    assert "status" in stream.getvalue()


async def test_lines_that_wait_are_written_when_the_lifespan_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server ends by its signal after that, and Python does not tidy up."""
    pipe = logged()
    monkeypatch.setattr(logs, "_TOGETHER", 3600)
    app = FastAPI(middleware=[Middleware(AccessLogMiddleware)])
    async with LifespanManager(app):
        log_request(logging.INFO, {"status": 200})
        assert pipe.writes == 0
    assert pipe.writes == 1


@pytest.mark.slow
async def test_a_server_that_is_told_to_stop_has_written_every_line() -> None:
    with serving() as server:
        await ready(server)
        for _ in range(20):
            await server.get("/slow/0")
        server.signal(signal.SIGTERM)
        output = [json.loads(line) for line in (await server.output()).splitlines()]
    assert [line.get("route") for line in output].count("/slow/{seconds}") == 20


class Broken(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


async def test_a_line_that_cannot_be_written_is_no_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(stream=Broken())
    log_request(logging.INFO, {"status": 200})
    flush()
    assert "BrokenPipeError" in capsys.readouterr().err  # as the standard library reports it


class Unspeakable:
    def __repr__(self) -> str:
        raise ValueError("no words")


async def test_a_line_that_cannot_be_made_takes_no_other_along() -> None:
    pipe = logged()
    for odd in (None, Unspeakable(), None):
        log_request(logging.INFO, {"status": 200, "odd": odd})
    flush()
    assert len(lines(pipe)) == 2


async def test_where_no_line_waits_nothing_is_reported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A test of pytest's, for one, closes the stream before the process ends."""
    pipe = logged()
    pipe.close()
    flush()
    assert capsys.readouterr().err == ""


def test_a_loop_that_ended_before_it_wrote_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipe = logged()

    async def log(*, wait: bool) -> None:
        log_request(logging.INFO, {"status": 200})
        async with asyncio.timeout(10):
            while wait and not pipe.writes:
                await asyncio.sleep(0)

    monkeypatch.setattr(logs, "_TOGETHER", 3600)
    asyncio.run(log(wait=False))
    assert pipe.writes == 0
    monkeypatch.setattr(logs, "_TOGETHER", 0)
    asyncio.run(log(wait=True))
    assert len(lines(pipe)) == 2
