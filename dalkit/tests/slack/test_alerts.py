"""Which errors reach Slack, and that nobody else notices."""

import asyncio
import gc
import json
import sysconfig
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request
from opentelemetry.sdk.trace import TracerProvider
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from structlog.testing import capture_logs

import dalkit
from dalkit.slack import SlackNotifier
from dalkit.slack import notifier as notifier_module
from dalkit.slack.delivery import Job
from dalkit.slack.report import own_code

from .apps import QUICK, alerting_app, calling, notifier_for
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
    assert "ExceptionGroup" in text
    assert "All 3" in text
    assert all(name in text for name in ("ValueError\\n", "KeyError\\n", "OSError\\n"))


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
    pace = replace(QUICK, timeout=0.3, drain=1.0)
    notifier = notifier_for(urls.get(mood, fake_slack.url), pace=pace)
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

    monkeypatch.setattr(notifier_module, "describe", broken)
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
    for asked_for in (True, False):
        async with notifier_for(fake_slack.url, exception_text=asked_for) as notifier:
            notifier.report({"type": "http", "method": "GET"}, Unspeakable())
    assert ["Unspeakable" in text for text in fake_slack.texts] == [True, True]
    assert ["cannot be shown" in text for text in fake_slack.texts] == [True, False]


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


class Authentication:
    """Verifies `good` tokens in its own time, the way Auth0 does."""

    def __init__(self, slowly: bool = False) -> None:
        self.asked: list[str] = []
        self.slowly = slowly

    async def verify(self, token: str) -> Any:
        self.asked.append(token)
        if self.slowly:
            await asyncio.Event().wait()
        if not token.startswith("good"):
            raise ValueError("invalid token")
        return SimpleNamespace(sub="user|ada")


HEADERS = {
    "Bearer good": "user|ada",
    "bearer  good ": "user|ada",
    "Bearer bad": None,
    "Bearer": None,
    "Basic good": None,
    "Bearer good" + "x" * 8200: None,
    "": None,
}


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header[:12])
async def test_the_user_of_a_verified_token_is_named_on_any_route(
    fake_slack: FakeSlack, header: str
) -> None:
    authentication = Authentication()
    notifier = notifier_for(fake_slack.url, authentication=authentication)
    app = alerting_app(notifier)

    @app.get("/")
    async def fail() -> None:
        raise ValueError("broken")

    async with notifier, calling(app, Authorization=header) as client:
        for _ in range(3):
            assert (await client.get("/")).status_code == 500
            await fake_slack.received(1)
    alert, at_the_end = fake_slack.texts
    for text in (alert, at_the_end):
        assert ("user|ada" in text) is bool(HEADERS[header])
        assert "good" not in text
    assert len(authentication.asked) <= 1  # once a message, not once an error


async def test_two_authorization_headers_name_nobody(fake_slack: FakeSlack) -> None:
    authentication = Authentication()
    headers = [(b"authorization", b"Bearer good")] * 2
    async with notifier_for(fake_slack.url, authentication=authentication) as notifier:
        notifier.report({"type": "http", "method": "GET", "headers": headers}, ValueError())
    assert authentication.asked == []


async def test_a_user_whom_the_route_has_verified_is_not_verified_again(
    fake_slack: FakeSlack,
) -> None:
    authentication = Authentication()
    scope = {
        "type": "http",
        "method": "GET",
        "headers": [(b"authorization", b"Bearer good")],
        "state": {"user_sub": "user|grace"},
    }
    async with notifier_for(fake_slack.url, authentication=authentication) as notifier:
        notifier.report(scope, ValueError())
    assert authentication.asked == []
    assert "user|grace" in fake_slack.texts[0]


async def test_a_slow_issuer_delays_no_response_and_names_nobody(
    fake_slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier_module, "_PATIENCE", 0.2)
    authentication = Authentication(slowly=True)
    notifier = notifier_for(fake_slack.url, authentication=authentication)
    app = alerting_app(notifier)

    @app.get("/")
    async def fail() -> None:
        raise ValueError("broken")

    async with notifier, calling(app, Authorization="Bearer good") as client:
        await client.get("/")
        assert fake_slack.messages == []
    [text] = fake_slack.texts
    assert "*User*" not in text


async def test_a_token_is_let_go_once_its_message_is_sent(fake_slack: FakeSlack) -> None:
    token = f"good, and not an interned string: {id(fake_slack)}"
    of_others = [item for item in gc.get_objects() if isinstance(item, Job)]
    headers = [(b"authorization", f"Bearer {token}".encode())]
    notifier = notifier_for(fake_slack.url, authentication=Authentication())
    async with notifier:
        notifier.report({"type": "http", "method": "GET", "headers": headers}, ValueError())
        await fake_slack.received(1)
        del headers
        assert notifier.delivery is not None
        while not notifier.delivery.sent:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        jobs = [item for item in gc.get_objects() if isinstance(item, Job)]
        assert [job for job in jobs if job not in of_others] == []


async def test_the_trace_is_named(fake_slack: FakeSlack) -> None:
    tracer = TracerProvider().get_tracer(__name__)
    async with notifier_for(fake_slack.url) as notifier:
        with tracer.start_as_current_span("request") as span:
            notifier.report({"type": "http", "method": "GET"}, ValueError())
    [text] = fake_slack.texts
    assert format(span.get_span_context().trace_id, "032x") in text


OWNERS = {  # file, and whether it is the owner's when their package is my_service
    "/home/ada/my-service/src/my_service/books/router.py": True,
    "/app/.venv/lib/python3.13/site-packages/my_service/books/router.py": True,
    "/usr/lib/python3/dist-packages/my_service/app.py": True,
    "/app/.venv/lib/python3.13/site-packages/my_service_client/client.py": False,
    "/app/.venv/lib/python3.13/site-packages/fastapi/routing.py": False,
    "/app/.venv/lib/python3.13/site-packages/my_service/vendored/site-packages/x.py": False,
    f"{sysconfig.get_path('stdlib')}/asyncio/tasks.py": False,
    f"{sysconfig.get_path('stdlib')}/site-packages/my_service/app.py": True,
    f"{Path(dalkit.__file__).parent}/web/problems.py": False,
    "<frozen importlib._bootstrap>": False,
    "<string>": False,
    r"C:\services\.venv\Lib\site-packages\my_service\app.py": True,
}


@pytest.mark.parametrize("file", OWNERS)
def test_the_owner_s_code_is_known_wherever_it_is_installed(file: str) -> None:
    assert bool(own_code("my_service.app").match(file)) is OWNERS[file]
    elsewhere = "-packages" not in file
    assert bool(own_code(None).match(file)) is (OWNERS[file] and elsewhere)


async def test_every_frame_is_the_owner_s_and_none_is_plumbing(fake_slack: FakeSlack) -> None:
    """Fifty levels of middleware, routing and thread pool are around each handler."""
    notifier = notifier_for(fake_slack.url)
    app = alerting_app(notifier)

    def look_up() -> None:
        json.loads("{")

    @app.get("/")
    def fail() -> None:
        look_up()

    async with notifier, calling(app) as client:
        await client.get("/")
    [message] = fake_slack.messages
    [traceback] = [b["text"]["text"] for b in message["blocks"] if "```" in str(b)][:1]
    places = [line for line in traceback.splitlines() if " in " in line]
    assert [place.partition(" in ")[2] for place in places] == ["fail", "look_up"]
    assert all("tests/slack/test_alerts.py:" in place for place in places)
    assert 'json.loads("{")' in traceback
