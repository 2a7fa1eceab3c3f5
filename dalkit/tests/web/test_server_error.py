"""An unexpected error is answered inside the other middleware and still reaches the server."""

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .apps import calling, wrapped_app
from tests.serving import serving


async def test_it_is_a_problem_without_any_of_the_exception_s_words() -> None:
    async with calling(wrapped_app()) as client:
        response = await client.get("/broken")
    assert response.status_code == 500
    assert response.json()["title"] == "Internal Server Error"
    assert "broken" not in response.text
    assert "ValueError" not in response.text


async def test_the_server_gets_the_exception() -> None:
    transport = httpx.ASGITransport(wrapped_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://books.example") as client:
        with pytest.raises(ValueError, match="broken"):
            await client.get("/broken")


async def test_a_client_can_go_on_after_a_500() -> None:
    """uvicorn closes the connection after an exception; who is not told loses the next request."""
    async with serving(wrapped_app()) as url, httpx.AsyncClient(base_url=url) as client:
        answers = [await client.get(path) for path in ("/broken", "/broken", "/fine/1") * 5]
    assert [answer.status_code for answer in answers] == [500, 500, 200] * 5


async def test_a_started_response_is_not_started_again() -> None:
    app = wrapped_app()

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def lines() -> AsyncIterator[bytes]:
            yield b"half"
            raise ValueError("broken")

        return StreamingResponse(lines())

    sent: list[Message] = []

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        async def watch(message: Message) -> None:
            sent.append(message)
            await send(message)

        await app(scope, receive, watch)

    async with calling(watched) as client:
        response = await client.get("/stream")
    assert (response.status_code, response.content) == (200, b"half")
    assert [message["type"] for message in sent].count("http.response.start") == 1


async def test_a_middleware_s_http_exception_keeps_its_status() -> None:
    """Outside the app's own exception handling, where Starlette would make it a 500."""

    class Refusing:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise HTTPException(418)

    app = wrapped_app()
    app.user_middleware.append(Middleware(Refusing))
    async with calling(app) as client:
        response = await client.get("/fine/1")
    assert response.status_code == 418
    assert response.headers["x-request-id"]
