"""Answers errors inside the middleware, the way the app does."""

from collections.abc import Sequence

from .layers import Exchange, Headers, Layer, OnStart


class ServerErrorMiddleware(Layer):
    """Does what Starlette's does, but inside the other middleware.

    Starlette's is outside of all: its 500 has no request id, no security and no CORS headers, and
    it is sent after an alert is made. This one answers first; Starlette's then finds the response
    started and only passes the exception to the server, which logs it.
    """

    async def on_error(
        self, exchange: Exchange, error: BaseException, outer: Sequence[OnStart]
    ) -> None:
        """Answer what was raised before the response has started."""
        if isinstance(error, Exception) and not exchange.has_started:
            await exchange.answer(error, [_close, *outer])


def _close(exchange: Exchange, headers: Headers) -> None:
    """Announce what uvicorn does after an exception: it closes the connection.

    Not told, a client sends its next request on it and gets no answer.
    """
    if exchange.scope["http_version"].startswith("1"):
        headers.append((b"connection", b"close"))
