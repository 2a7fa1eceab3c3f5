"""Logs are JSON for machines and readable for people, whoever writes them."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import structlog
import websockets
from fastapi import FastAPI, WebSocket
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy.exc import DBAPIError

from dalkit.data.engine import create_engine
from dalkit.dev.issuer import Issuer
from dalkit.observe.logs import configure_logging

from tests.serving import serving


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored(issuer: Issuer) -> Iterator[None]:
    """Leave the process's logging as it was; the issuer of all tests has logged that it started."""
    httpx.get(f"{issuer.url}.well-known/jwks.json", timeout=60)
    root = logging.getLogger()
    before = (root.handlers[:], root.level, structlog.get_config())
    yield
    root.handlers[:], level, config = before
    root.setLevel(level)
    structlog.configure(**config)
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(False)
    for name in ("access", "uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "httpcore"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
        logging.getLogger(name).setLevel(logging.NOTSET)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_without_a_terminal_every_line_is_json() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    structlog.get_logger("ours").info("event", number=1, text="ä\n\ud800")
    logging.getLogger("theirs").warning("a %s", "word")
    logging.getLogger("uvicorn.error").info("Started", extra={"color_message": "\x1b[36mStarted"})
    ours, theirs, uvicorn = lines(stream)
    assert (ours["event"], ours["number"], ours["logger"], ours["level"]) == (
        "event",
        1,
        "ours",
        "info",
    )
    assert (theirs["event"], theirs["logger"], theirs["level"]) == ("a word", "theirs", "warning")
    assert uvicorn["event"] == "Started"
    assert ours["timestamp"].endswith("Z")
    assert list(ours)[:4] == ["timestamp", "level", "logger", "event"]


def test_on_a_terminal_lines_are_coloured_and_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    configure_logging(stream=stream)
    structlog.get_logger().info("event", number=1)
    assert "\x1b[" in stream.getvalue()
    assert "event" in stream.getvalue()


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_wants_no_colours_gets_none(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(name, value)
    stream = Terminal()
    configure_logging(stream=stream)
    structlog.get_logger().warning("event", number=1)
    assert "\x1b" not in stream.getvalue()
    assert "event" in stream.getvalue()


@pytest.mark.parametrize(
    ("log_format", "stream", "is_json"),
    [("json", Terminal(), True), ("console", io.StringIO(), False)],
    ids=["json", "console"],
)
def test_the_format_can_be_chosen(log_format: Any, stream: io.StringIO, is_json: bool) -> None:
    configure_logging(log_format=log_format, stream=stream)
    structlog.get_logger().info("event")
    assert stream.getvalue().startswith("{") is is_json


def test_the_request_id_is_in_every_line() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    structlog.contextvars.bind_contextvars(request_id="the-id")
    structlog.get_logger().info("ours")
    logging.getLogger("theirs").warning("theirs")
    assert [line["request_id"] for line in lines(stream)] == ["the-id", "the-id"]


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["json", "console"])
def test_tracebacks_are_logged_without_locals(stream: io.StringIO) -> None:
    configure_logging(stream=stream)
    hidden = "local-value"
    try:
        raise ValueError(len(hidden))
    except ValueError:
        structlog.get_logger().exception("ours")
        logging.getLogger("theirs").exception("theirs")
    text = stream.getvalue()
    assert text.count("ValueError: 11") == 2
    assert "local-value" not in text.replace('hidden = "local-value"', "")
    if not stream.isatty():
        assert len(text.splitlines()) == 2


def test_of_an_endless_text_both_ends_are_logged() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    try:
        raise ValueError("x" * 10_000_000 + "the end")
    except ValueError:
        logging.getLogger("theirs").exception("y" * 10_000_000)
    [line] = lines(stream)
    assert line["exception"].startswith("Traceback (most recent call last):")
    assert line["exception"].endswith("xxxthe end")
    assert len(line["exception"]) + len(line["event"]) < 110_000


async def test_the_parameters_of_a_failing_statement_are_not_logged(engine_uri: str) -> None:
    """uvicorn logs the traceback of every 500, and SQLAlchemy's text would have them."""
    stream = io.StringIO()
    configure_logging(stream=stream)
    engine = create_engine(engine_uri)
    try:
        async with engine.connect() as conn:
            await conn.execute(sa.text("SELECT 1 / (:a - 1)"), {"a": 1})
    except DBAPIError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    await engine.dispose()
    assert "SELECT 1 / " in stream.getvalue()
    assert "SQL parameters hidden" in stream.getvalue()


def test_the_level_holds_for_everybody() -> None:
    stream = io.StringIO()
    configure_logging("WARNING", stream=stream)
    structlog.get_logger().info("ours")
    logging.getLogger("theirs").info("theirs")
    logging.getLogger("uvicorn.error").info("uvicorn's")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
def test_http_clients_do_not_log_urls(level: str) -> None:
    """A URL may be a secret, and httpx logs it at INFO."""
    stream = io.StringIO()
    configure_logging(level, stream=stream)
    logging.getLogger("httpx").info("HTTP Request: POST https://example.com/secret/x")
    logging.getLogger("httpcore.http11").debug("send_request_headers.started")
    assert stream.getvalue() == ""


def test_uvicorn_writes_through_our_handler_and_no_access_log() -> None:
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).addHandler(logging.StreamHandler(io.StringIO()))
    stream = io.StringIO()
    configure_logging(stream=stream)
    logging.getLogger("uvicorn.error").error("broken")
    assert [line["event"] for line in lines(stream)] == ["broken"]
    assert not logging.getLogger("uvicorn.access").hasHandlers()


def test_warnings_are_log_lines() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("careful", stacklevel=1)
    assert "careful" in lines(stream)[0]["event"]


def test_a_line_leads_to_its_trace() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("request") as span:
        structlog.get_logger().info("inside")
    structlog.get_logger().info("outside")
    inside, outside = lines(stream)
    assert inside["trace_id"] == format(span.get_span_context().trace_id, "032x")
    assert "trace_id" not in outside


async def test_the_query_of_a_websocket_is_in_no_line() -> None:
    """uvicorn writes the URL of each handshake, other than of requests, at INFO."""
    app = FastAPI()

    @app.websocket("/taken")
    async def take(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    @app.websocket("/refused")
    async def refuse(websocket: WebSocket) -> None:
        await websocket.close(1008)

    stream = io.StringIO()
    configure_logging(stream=stream)
    async with serving(app) as url:
        base = url.replace("http", "ws")
        async with websockets.connect(f"{base}/taken?token=secret"):
            pass
        with pytest.raises(websockets.exceptions.InvalidStatus):
            await websockets.connect(f"{base}/refused?token=secret")
    assert "Application startup complete." in stream.getvalue()
    assert "secret" not in stream.getvalue()
