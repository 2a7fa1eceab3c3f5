"""Renders an error the way the app does, from a middleware where the app no longer can."""

from collections.abc import Awaitable, Callable
from typing import cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Handler = Callable[[Request, Exception], Awaitable[Response]]


async def render(scope: Scope, receive: Receive, send: Send, error: Exception) -> None:
    """Send the response of the app's own handler for HTTPException, or for any other Exception."""
    family = HTTPException if isinstance(error, HTTPException) else Exception
    handler = cast(Handler, scope["app"].exception_handlers[family])
    response = await handler(Request(scope, receive), error)
    await response(scope, receive, send)
