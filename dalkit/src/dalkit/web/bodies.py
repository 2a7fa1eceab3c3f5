"""What bodies may be: not too large in a request, empty in an answer to HEAD."""

import sys
from collections.abc import Awaitable, Mapping

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .layers import Exchange, Layer

#: Python refuses to read numbers of more than 4,300.
_MOST_DIGITS = 18


class BodyTooLarge(HTTPException):
    """413 (RFC 9110, 15.5.14)."""

    def __init__(self, max_body_size: int) -> None:
        super().__init__(413, f"The request body is larger than {max_body_size} bytes.")


class BodyLimitMiddleware(Layer):
    """Answers 413 at once when Content-Length is over `max_body_size` bytes, else counts.

    `by_path` has the limits of the paths that take larger (or only smaller) bodies.

    FastAPI(max_body_size=) sits outside all middleware and answers in plain text, without a
    request id, as soon as there is a Content-Length.
    """

    def __init__(
        self, app: ASGIApp, max_body_size: int, by_path: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(app)
        self.max_body_size = max_body_size
        self.by_path = by_path or {}

    def before(self, exchange: Exchange) -> Exception | None:
        """Refuse what is announced to be larger, and have the rest counted."""
        scope = exchange.scope
        limit = self.max_body_size
        if self.by_path:
            limit = self.by_path.get(_path(scope), limit)
        if _announced(scope) > limit:
            return BodyTooLarge(limit)
        exchange.receive = _counted(exchange.receive, limit)
        return None


def _counted(receive: Receive, limit: int) -> Receive:
    received = 0

    async def count() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            # Raised where the app reads: it answers through its own exception handlers.
            raise BodyTooLarge(limit)
        return message

    return count


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _announced(scope: Scope) -> int:
    """Return Content-Length, 0 when there is none or no number."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value) if len(value) <= _MOST_DIGITS else sys.maxsize
    return 0


class HeadMiddleware(Layer):
    """Lets the app answer HEAD as GET, and sends the headers without the body.

    RFC 9110, section 9.3.2; FastAPI's routes have HEAD only where it is declared.
    """

    def before(self, exchange: Exchange) -> None:
        """Ask for GET."""
        if exchange.method == "HEAD":
            exchange.scope["method"] = "GET"
            exchange.send_inside = _without_body(exchange.scope, exchange.send)

    def after(self, exchange: Exchange, error: BaseException | None) -> None:
        """Name the request again as it came."""
        if exchange.method == "HEAD":
            exchange.scope["method"] = "HEAD"
            exchange.send_inside = None


def _without_body(scope: Scope, send: Send) -> Send:
    def send_without_body(message: Message) -> Awaitable[None]:
        scope["method"] = "HEAD"  # the server counts the bytes of other methods' bodies
        return send({**message, "body": b""} if "body" in message else message)

    return send_without_body
