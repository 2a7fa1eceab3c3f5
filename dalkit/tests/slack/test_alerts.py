"""Which errors reach Slack, and that nobody else notices."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from time import perf_counter
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from structlog.testing import capture_logs

from dalkit.slack import SlackNotifier
from dalkit.slack.report import Incident

from .apps import alerting_app, calling, notifier_for
from .fake_slack import Answer, FakeSlack


class Strict(BaseModel):
    number: int


def in_route(app: FastAPI) -> None:
    @app.get("/broken")
    async def broken() -> None:
        raise LookupError("in the route")


def in_threaded_route(app: FastAPI) -> None:
    @app.get("/broken")
    def broken() -> None:
        raise LookupError("in a thread")


def in_dependency(app: FastAPI) -> None:
    def fail() -> None:
        raise LookupError("in a dependency")

    @app.get("/broken", dependencies=[Depends(fail)])
    async def broken() -> None: ...


def in_yield_dependency(app: FastAPI) -> None:
    def fail() -> Iterator[None]:
        yield
        raise LookupError("after the yield")

    @app.get("/broken", dependencies=[Depends(fail)])
    async def broken() -> None: ...


def in_serialisation(app: FastAPI) -> None:
    @app.get("/broken", response_model=Strict)
    async def broken() -> Any:
        return {"number": "not one"}


def in_background(app: FastAPI) -> None:
    @app.get("/broken")
    async def broken(tasks: BackgroundTasks) -> None:
        def fail() -> None:
            raise LookupError("in the background")

        tasks.add_task(fail)


def in_stream(app: FastAPI) -> None:
    @app.get("/broken")
    async def broken() -> Response:
        async def lines() -> AsyncIterator[bytes]:
            yield b"a line"
            raise LookupError("in the middle of the stream")

        return StreamingResponse(lines())


def expected_but_late(app: FastAPI) -> None:
    @app.get("/broken")
    async def broken(tasks: BackgroundTasks) -> None:
        def fail() -> None:
            raise HTTPException(404, "too late to be answered")

        tasks.add_task(fail)


def in_reading(app: FastAPI) -> None:
    @app.get("/broken")
    async def broken(request: Request) -> None:
        request.scope["wrapped"] = await request.body()
        raise LookupError("while reading")


@pytest.mark.parametrize(
    "breaks",
    [
        in_route,
        in_threaded_route,
        in_dependency,
        in_yield_dependency,
        in_serialisation,
        in_background,
        in_stream,
        expected_but_late,
        in_reading,
    ],
)
async def test_an_unexpected_error_is_reported_wherever_it_happens(
    fake_slack: FakeSlack, breaks: Callable[[FastAPI], None]
) -> None:
    notifier = notifier_for(fake_slack.url)
    app = alerting_app(notifier)
    breaks(app)
    async with notifier, calling(app) as client:
        await client.get("/broken")
    [text] = fake_slack.texts
    assert "GET /broken" in text
    assert __name__.rpartition(".")[2] in text or "ResponseValidationError" in text


EXPECTED = [
    HTTPException(404),
    HTTPException(503),
    ClientDisconnect(),
    ExceptionGroup("the client left", [ClientDisconnect(), ClientDisconnect()]),
]


@pytest.mark.parametrize("error", EXPECTED, ids=repr)
async def test_an_expected_error_is_not_reported(fake_slack: FakeSlack, error: Exception) -> None:
    notifier = notifier_for(fake_slack.url)
    app = alerting_app(notifier)

    @app.get("/{number}")
    async def fail(number: int) -> None:
        raise error

    async with notifier, calling(app) as client:
        for path in ("/1", "/not-a-number", "/no/route"):
            await client.get(path)
    assert fake_slack.messages == []


async def test_every_member_of_a_group_is_named_in_one_message(fake_slack: FakeSlack) -> None:
    notifier = notifier_for(fake_slack.url)
    app = alerting_app(notifier)

    @app.get("/")
    async def fail() -> None:
        inner = ExceptionGroup("inner", [KeyError("b"), OSError("c")])
        raise ExceptionGroup("outer", [ValueError("a"), inner])

    async with notifier, calling(app) as client:
        await client.get("/")
    [text] = fake_slack.texts
    assert all(name in text for name in ("ValueError: a", "KeyError: 'b'", "OSError: c"))


async def test_a_database_outage_is_one_alert(fake_slack: FakeSlack) -> None:
    """Whatever the routes and the exceptions are that it shows itself in."""
    notifier = notifier_for(fake_slack.url)
    app = alerting_app(notifier)

    @app.get("/{n}")
    async def fail(n: int, request: Request) -> Response:
        request.state.outage = [ConnectionRefusedError("refused"), TimeoutError("pool")][n % 2]
        return Response(status_code=503)

    async with notifier, calling(app) as client:
        await client.get("/0")
        await fake_slack.received(1)
        await asyncio.gather(*(client.get(f"/{n}") for n in range(1, 50)))
    alert, at_the_end = fake_slack.texts
    assert "503" in alert
    assert "49 more" in at_the_end


SLACK_MOODS = {
    "up": Answer(),
    "slow": Answer(delay=4),
    "limiting": Answer(429, {"Retry-After": "30"}),
    "broken": Answer(500),
    "hanging": Answer(delay=60),
}


@pytest.mark.parametrize("mood", [*SLACK_MOODS, "down", "off"])
async def test_the_response_does_not_depend_on_slack(fake_slack: FakeSlack, mood: str) -> None:
    """Byte for byte, and it does not wait."""

    async def response_of(notifier: SlackNotifier) -> tuple[httpx.Response, float]:
        app = alerting_app(notifier)

        @app.get("/")
        async def fail() -> None:
            raise ValueError("broken")

        headers = {"X-Request-ID": "the-id"}
        async with calling(app, **headers) as client:
            started = perf_counter()
            return await client.get("/"), perf_counter() - started

    expected, _ = await response_of(notifier_for(None))
    urls = {"down": "http://127.0.0.1:9/", "off": None}
    fake_slack.answer = SLACK_MOODS.get(mood, Answer())
    notifier = notifier_for(urls.get(mood, fake_slack.url))
    got, seconds = await response_of(notifier)
    if notifier.delivery is not None:
        fake_slack.closing.set()
        await notifier.delivery.stop()
    assert (got.status_code, got.content) == (expected.status_code, expected.content)
    assert got.headers.raw == expected.headers.raw
    assert got.json()["request_id"] == "the-id"
    assert seconds < 2  # who waited would wait 4 seconds at least


async def test_the_exception_travels_on_to_the_server(fake_slack: FakeSlack) -> None:
    notifier = notifier_for(fake_slack.url)
    app = alerting_app(notifier)
    error = ValueError("broken")

    @app.get("/")
    async def fail() -> None:
        raise error

    async with notifier, httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        with pytest.raises(ValueError, match="broken") as caught:
            await client.get("http://books.example/")
    assert caught.value is error


async def test_a_bug_in_the_reporter_does_not_hide_the_error(
    fake_slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Incident, "report", broken)
    notifier = notifier_for(fake_slack.url)
    app = alerting_app(notifier)

    @app.get("/")
    async def fail() -> None:
        raise ValueError("the real one")

    async with notifier, httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        with capture_logs() as logs, pytest.raises(ValueError, match="the real one"):
            await client.get("http://books.example/")
    assert "slack_report_failed" in [line["event"] for line in logs]


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this works")


async def test_an_exception_that_cannot_be_printed_is_reported(fake_slack: FakeSlack) -> None:
    async with notifier_for(fake_slack.url) as notifier:
        notifier.report({"type": "http", "method": "GET"}, Unspeakable())
    [text] = fake_slack.texts
    assert "Unspeakable" in text
    assert "cannot be shown" in text


@pytest.mark.parametrize(
    ("trigger", "reported"), [(["testing"], 1), (["production"], 0), ([], 0), (None, 1)]
)
async def test_only_the_chosen_environments_alert(
    fake_slack: FakeSlack, trigger: list[str] | None, reported: int
) -> None:
    async with notifier_for(fake_slack.url, environments_trigger=trigger) as notifier:
        notifier.report({"type": "http", "method": "GET"}, ValueError("broken"))
    assert len(fake_slack.messages) == reported


async def test_an_alert_tells_who_did_what_where(fake_slack: FakeSlack) -> None:
    notifier = notifier_for(fake_slack.url)
    app = alerting_app(notifier)

    @app.post("/v1/books/{book_id}")
    async def fail(book_id: int, request: Request) -> None:
        request.state.user_sub = "user|ada"
        raise ValueError("broken")

    headers = {"X-Request-ID": "the-id"}
    async with notifier, calling(app, **headers) as client:
        await client.post("/v1/books/17")
    [text] = fake_slack.texts
    facts = ("testing", "books", "1.2.3", "POST /v1/books/{" + "book_id}", "500", "the-id")
    assert all(fact in text for fact in facts), text
    assert all(fact in text for fact in ("user|ada", "ValueError", "broken", "in fail"))


async def test_a_garbage_token_is_not_read(fake_slack: FakeSlack) -> None:
    """A public route that fails: nobody was verified, so nobody is named, and nothing leaks."""
    notifier = notifier_for(fake_slack.url)
    app = alerting_app(notifier)

    @app.get("/")
    async def fail() -> None:
        raise ValueError("broken")

    garbage = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.x"
    async with notifier, calling(app, Authorization=garbage) as client:
        assert (await client.get("/")).status_code == 500
    [text] = fake_slack.texts
    assert "User" not in text
    assert "eyJ" not in text
    assert "admin" not in text
