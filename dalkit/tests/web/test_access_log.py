"""One line a request."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from structlog.testing import capture_logs

from .apps import calling, wrapped_app

Line = dict[str, Any]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[Any]]:
    caplog.set_level(logging.DEBUG, logger="access")
    with capture_logs() as logs:
        yield logs


async def test_nothing_is_logged_below_the_level(
    lines: list[Line], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="access")
    async with calling(wrapped_app()) as client:
        await client.get("/fine/17")
    assert lines == []


async def test_a_request_is_one_line(lines: list[Line]) -> None:
    async with calling(wrapped_app()) as client:
        await client.get("/fine/17?q=private")
    [line] = lines
    assert line.pop("duration_ms") > 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "method": "GET",
        "route": "/fine/{number}",
        "status": 200,
    }


async def test_an_error_is_one_line_with_its_type(lines: list[Line]) -> None:
    async with calling(wrapped_app()) as client:
        await client.get("/broken")
    [line] = lines
    assert (line["status"], line["error"]) == (500, "ValueError")


async def test_the_user_is_named(lines: list[Line]) -> None:
    app = wrapped_app()

    @app.get("/mine")
    async def mine(request: Request) -> None:
        request.state.user_sub = "user|ada"

    async with calling(app) as client:
        await client.get("/mine")
    assert lines[0]["user"] == "user|ada"


async def test_without_a_route_the_path_is_logged_but_not_all_of_it(lines: list[Line]) -> None:
    async with calling(wrapped_app()) as client:
        await client.get("/" + "x" * 5000)
    assert lines[0]["route"] is None
    assert lines[0]["path"] == "/" + "x" * 199


async def test_probes_are_for_debugging(lines: list[Line]) -> None:
    async with calling(wrapped_app()) as client:
        await client.get("/livez")
    assert lines[0]["log_level"] == "debug"


async def test_the_route_has_its_prefixes(lines: list[Line]) -> None:
    app = wrapped_app()
    inner, outer, mounted = APIRouter(prefix="/books"), APIRouter(prefix="/v1"), FastAPI()

    @inner.get("/{book_id}")
    async def book(book_id: int) -> None: ...

    @mounted.get("/{book_id}")
    async def other(book_id: int) -> None: ...

    outer.include_router(inner)
    app.include_router(outer)
    app.mount("/mounted", mounted)
    async with calling(app) as client:
        await client.get("/v1/books/1")
        await client.get("/v1/books/none")
        await client.get("/mounted/1")
    assert [line["route"] for line in lines] == [
        "/v1/books/{book_id}",
        "/v1/books/{book_id}",
        "/mounted/{book_id}",
    ]


async def test_the_route_is_left_for_others() -> None:
    seen: list[str] = []
    app = wrapped_app()

    class Outermost:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)
            seen.append(scope["state"]["route"])

    app.add_middleware(Outermost)
    async with calling(app) as client:
        await client.get("/fine/1")
    assert seen == ["/fine/{number}"]
