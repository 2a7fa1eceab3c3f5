"""What bodies may be: not too large in a request, empty in an answer to HEAD."""

from collections.abc import Awaitable, Mapping

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .server_error import render


class BodyTooLarge(HTTPException):
    """413 (RFC 9110, 15.5.14)."""

    def __init__(self, max_body_size: int) -> None:
        super().__init__(413, f"The request body is larger than {max_body_size} bytes.")


class BodyLimitMiddleware:
    """Answers 413 at once when Content-Length is over `max_body_size` bytes, else counts.

    `by_path` has the limits of the paths that take larger (or only smaller) bodies.

    FastAPI(max_body_size=) sits outside all middleware and answers in plain text, without a
    request id, as soon as there is a Content-Length.
    """

    def __init__(
        self, app: ASGIApp, max_body_size: int, by_path: Mapping[str, int] | None = None
    ) -> None:
        self.app = app
        self.max_body_size = max_body_size
        self.by_path = by_path or {}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        limit = self.by_path.get(_path(scope), self.max_body_size)
        if _announced(scope) > limit:
            return render(scope, receive, send, BodyTooLarge(limit))
        received = 0

        async def count() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                # Raised where the app reads: it answers through its own exception handlers.
                raise BodyTooLarge(limit)
            return message

        return self.app(scope, count, send)


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _announced(scope: Scope) -> int:
    """Return Content-Length, 0 when there is none or no number."""
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(length) if length.isdigit() else 0


class HeadMiddleware:
    """Lets the app answer HEAD as GET, and sends the headers without the body.

    RFC 9110, section 9.3.2; FastAPI's routes have HEAD only where it is declared.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return self.app(scope, receive, send)
        return self._as_get(scope, receive, send)

    async def _as_get(self, scope: Scope, receive: Receive, send: Send) -> None:
        def send_without_body(message: Message) -> Awaitable[None]:
            scope["method"] = "HEAD"  # the server counts the bytes of other methods' bodies
            return send({**message, "body": b""} if "body" in message else message)

        scope["method"] = "GET"
        try:
            await self.app(scope, receive, send_without_body)
        finally:
            scope["method"] = "HEAD"
