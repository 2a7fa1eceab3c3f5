"""Answers errors inside the middleware, the way the app does."""

from collections.abc import Awaitable, Callable
from typing import cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Handler = Callable[[Request, Exception], Awaitable[Response]]


async def render(scope: Scope, receive: Receive, send: Send, error: Exception) -> None:
    """Send the response of the app's own handler for HTTPException, or for any other Exception."""
    family = HTTPException if isinstance(error, HTTPException) else Exception
    handler = cast(Handler, scope["app"].exception_handlers[family])
    response = await handler(Request(scope, receive), error)
    await response(scope, receive, send)


class ServerErrorMiddleware:
    """Does what Starlette's does, but inside the other middleware.

    Starlette's is outside of all: its 500 has no request id, no security and no CORS headers, and
    it is sent after an alert is made. This one answers first; Starlette's then finds the response
    started and only passes the exception to the server, which logs it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        def watch(message: Message) -> Awaitable[None]:
            nonlocal started
            started = True
            return send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception as error:
            if not started:
                await render(scope, receive, _closing(scope, send), error)
            raise


def _closing(scope: Scope, send: Send) -> Send:
    """Announce what uvicorn does after an exception: it closes the connection.

    Not told, a client sends its next request on it and gets no answer.
    """

    async def send_and_close(message: Message) -> None:
        if message["type"] == "http.response.start" and scope["http_version"].startswith("1"):
            headers = [*message.get("headers", ()), (b"connection", b"close")]
            message = {**message, "headers": headers}
        await send(message)

    return send_and_close
