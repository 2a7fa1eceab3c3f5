"""Neighbouring layers run in one go, and nobody can tell."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import product
from random import Random
from typing import Any

import pytest
import structlog
from fastapi import FastAPI, Request, WebSocket
from fastapi.middleware import Middleware
from fastapi.responses import HTMLResponse, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dalkit.web import (
    AccessLogMiddleware,
    BodyLimitMiddleware,
    HeadMiddleware,
    RequestIdMiddleware,
    SecurityHeadersMiddleware,
    ServerErrorMiddleware,
    problem_handlers,
)
from dalkit.web.layers import Exchange, Layer

from .apps import middleware
from tests.soak import rounds

LIST = [*middleware(max_body_size=8), Middleware(HeadMiddleware)]
BROWSERS = {"cors_origins": ["https://a.example"], "trusted_hosts": ["books.example"]}
SHUFFLES = rounds(short=12, full=400)


class Between:
    """A middleware of an owner's: it does nothing, and it is no layer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app."""
        await self.app(scope, receive, send)


def built(middlewares: list[Middleware], *, apart: bool) -> FastAPI:
    """An app in which the middlewares are neighbours, or have another one between each two."""
    listed = [each for own in middlewares for each in (own, Middleware(Between))]
    app = FastAPI(middleware=listed if apart else middlewares, exception_handlers=problem_handlers)

    @app.get("/fine")
    async def fine(request: Request) -> str:
        return str(request.state.request_id) if hasattr(request.state, "request_id") else "?"

    @app.get("/page")
    async def page() -> HTMLResponse:
        return HTMLResponse("<p>", headers={"X-Frame-Options": "SAMEORIGIN"})

    @app.get("/broken")
    async def broken() -> None:
        raise ValueError

    @app.get("/cancelled")
    async def cancelled() -> None:
        raise asyncio.CancelledError

    @app.get("/stream")
    async def stream(fails: bool = False) -> StreamingResponse:
        async def lines() -> AsyncIterator[bytes]:
            yield b"one"
            yield b"two"
            if fails:
                raise ValueError

        return StreamingResponse(lines())

    @app.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(str("request_id" in websocket.scope["state"]))
        await websocket.close()

    return app


def requests() -> Iterator[dict[str, Any]]:
    """The ways in which a request can come, and can end."""
    paths = ["/fine", "/page", "/broken", "/cancelled", "/stream", "/stream?fails=1", "/none"]
    for method, path in product(("GET", "HEAD", "OPTIONS"), paths):
        yield {"method": method, "path": path}
    for path in ("/fine", "/page", "/broken", "/stream"):
        for breaks_at in (1, 2):
            yield {"path": path, "breaks_at": breaks_at}
        yield {"path": path, "scheme": "https", "http_version": "2"}
    for body, announced in product(([b""], [b"12345678"], [b"1234", b"56789"]), (None, 8, 9, "x")):
        yield {"method": "POST", "path": "/echo", "body": body, "announced": announced}
    yield {"method": "POST", "path": "/echo", "body": [b"1" * 9], "announced": 9, "breaks_at": 1}
    for host, origin in product((b"books.example", b"other"), (b"https://a.example", b"https://b")):
        for path in ("/fine", "/broken", "/livez"):
            yield {"path": path, "host": host, "origin": origin}
    yield {"type": "websocket", "path": "/socket"}
    yield {"type": "websocket", "path": "/socket", "host": b"other"}


async def seen(app: ASGIApp, **request: Any) -> dict[str, Any]:
    """Send a request; return all that the server, the log and an outer middleware see of it."""
    path, _, query = request["path"].partition("?")
    kind = request.get("type", "http")
    headers = [(b"host", request.get("host", b"books.example")), (b"x-request-id", b"given")]
    if announced := request.get("announced"):
        headers.append((b"content-length", str(announced).encode()))
    if origin := request.get("origin"):
        headers.append((b"origin", origin))
    scope: Scope = {
        "type": kind,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": headers,
        "http_version": request.get("http_version", "1.1"),
        "scheme": request.get("scheme", "http"),
        "subprotocols": [],
    }
    if kind == "http":
        scope["method"] = request.get("method", "GET")
    waiting = messages_of(kind, request.get("body", [b""]))
    sent: list[Any] = []

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append((message, scope.get("method")))
        if len(sent) == request.get("breaks_at"):
            raise OSError("the client is gone")

    structlog.contextvars.clear_contextvars()
    with structlog.testing.capture_logs() as lines:
        try:
            await app(scope, receive, send)
            raised = None
        except BaseException as error:  # noqa: BLE001 - compared
            raised = repr(error)
    for line in lines:
        line.pop("duration_ms", None)
    kept = {name: scope.get(name) for name in ("method", "state")}
    return {"sent": sent, "raised": raised, "lines": lines, "scope": kept, "left": len(waiting)}


def messages_of(kind: str, body: list[bytes]) -> list[Message]:
    """What a server has for an app."""
    if kind == "websocket":
        return [{"type": "websocket.connect"}]
    more = [*[True] * (len(body) - 1), False]
    return [
        {"type": "http.request", "body": part, "more_body": follows}
        for part, follows in zip(body, more, strict=True)
    ]


async def is_the_same(middlewares: list[Middleware]) -> int:
    """Compare all requests to an app with a row of layers, and to one with layers alone."""
    together, apart = built(middlewares, apart=False), built(middlewares, apart=True)
    count = 0
    for count, request in enumerate(requests(), 1):  # noqa: B007 - returned
        alone = await seen(apart, **request)
        assert await seen(together, **request) == alone, (request, middlewares)
    return count


async def test_a_row_does_what_its_layers_do_apart() -> None:
    assert await is_the_same(LIST) > 50


async def test_with_cors_and_trusted_hosts_in_between() -> None:
    await is_the_same([*middleware(max_body_size=8, **BROWSERS), Middleware(HeadMiddleware)])


def row_of(app: Any) -> list[str]:
    """The names of the layers that an app runs in one go."""
    return [type(layer).__name__ for layer in app.row]


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """An app."""


def test_the_list_of_a_service_is_one_row() -> None:
    app: Any = nothing
    for each in reversed(LIST):
        app = each.cls(app, *each.args, **each.kwargs)
    assert len(app.row) == len(LIST)
    assert app.inside is nothing


def test_another_middleware_ends_a_row() -> None:
    behind = SecurityHeadersMiddleware(ServerErrorMiddleware(nothing))
    assert row_of(RequestIdMiddleware(Between(behind))) == ["RequestIdMiddleware"]
    assert row_of(behind) == ["SecurityHeadersMiddleware", "ServerErrorMiddleware"]


def test_a_row_has_one_of_a_kind() -> None:
    """The outer of two limits counts as well, and a subclass is of its parent's kind."""

    class Larger(BodyLimitMiddleware):
        pass

    app = Larger(HeadMiddleware(BodyLimitMiddleware(nothing, 5)), 9)
    assert row_of(app) == ["Larger"]


def test_a_subclass_that_does_more_is_not_passed_by() -> None:
    class Watched(AccessLogMiddleware):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await super().__call__(scope, receive, send)

    behind = Watched(SecurityHeadersMiddleware(nothing))
    assert row_of(RequestIdMiddleware(behind)) == ["RequestIdMiddleware"]
    assert row_of(behind) == ["Watched", "SecurityHeadersMiddleware"]


async def test_what_fails_after_an_error_takes_its_place() -> None:
    """As where one `finally` is around another."""

    class Failing(Layer):
        async def on_error(self, exchange: Exchange, error: BaseException, outer: Any) -> None:
            raise KeyError from error

    class Noting(Layer):
        noted: BaseException | None = None

        def after(self, exchange: Exchange, error: BaseException | None) -> None:
            self.noted = error

    app = Noting(Failing(built([], apart=False)))
    result = await seen(app, path="/broken")
    assert result["raised"] == "KeyError()"
    assert isinstance(app.noted, KeyError)


async def test_what_was_not_entered_is_not_left() -> None:
    """An error of one layer is none of the layers behind it."""
    left = []

    class Raising(Layer):
        def before(self, exchange: Exchange) -> None:
            raise KeyError

        def after(self, exchange: Exchange, error: BaseException | None) -> None:
            left.append("raising")

    class Behind(Layer):
        def after(self, exchange: Exchange, error: BaseException | None) -> None:
            left.append("behind")

    result = await seen(Raising(Behind(built([], apart=False))), path="/fine")
    assert result["raised"] == "KeyError()"
    assert left == ["raising"]


@pytest.mark.soak
@pytest.mark.parametrize("number", range(SHUFFLES))
async def test_in_whatever_order_and_number(number: int) -> None:
    """Twice the same layer and the wrong order too: nothing of it is refused."""
    order = Random(number)
    parts = [*middleware(max_body_size=8, **(BROWSERS if number % 2 else {})), *LIST]
    await is_the_same(order.sample(parts, k=order.randint(1, len(parts))))
