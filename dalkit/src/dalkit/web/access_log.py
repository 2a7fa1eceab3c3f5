"""One log line a request, in place of the server's."""

import logging
from collections.abc import Awaitable
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..observe.logs import ACCESS, flush_requests, log_request
from .headers import PROBES

_LONGEST_PATH = 200

#: Asked first, because a line costs more than a route.
_logger = logging.getLogger(ACCESS)


class AccessLogMiddleware:
    """Logs method, route template, status, milliseconds, user and, by context, the request id.

    Leaves the template in `request.state.route`. The path is logged only when no route matched:
    it may hold what does not belong into a log. Probes are logged at DEBUG.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            if scope["type"] == "lifespan":  # the last thing before a signal ends the process
                flush_requests()
            return
        started = perf_counter()
        status = 0

        def watch(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            return send(message)

        error: str | None = None
        try:
            await self.app(scope, receive, watch)
        except BaseException as exc:
            error = type(exc).__name__
            raise
        finally:
            _log(scope, status, perf_counter() - started, error)


def _log(scope: Scope, status: int, seconds: float, error: str | None) -> None:
    route = route_template(scope)
    state = scope.setdefault("state", {})
    state["route"] = route
    level = logging.DEBUG if scope["path"] in PROBES else logging.INFO
    if not _logger.isEnabledFor(level):
        return
    facts: dict[str, Any] = {
        "duration_ms": round(seconds * 1000, 2),
        "method": scope["method"],
        "route": route,
        "status": status or None,
    }
    if route is None:
        facts["path"] = scope["path"][:_LONGEST_PATH]
    if user := state.get("user_sub"):
        facts["user"] = user
    if error:
        facts["error"] = error
    log_request(level, facts)


def route_template(scope: Scope) -> str | None:
    """Return `/v1/books/{id}` after the app has run, or None when no route matched.

    `scope["route"]` of an included router knows only its own part of the path; FastAPI keeps the
    whole beside it. Mounted apps add what they are mounted at.
    """
    route = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    path = getattr(route, "path_format", None) or getattr(route, "path", None)
    if path is None:
        return None
    mounted_at = scope.get("root_path", "").removeprefix(scope.get("app_root_path", ""))
    return f"{mounted_at}{path}" if "app_root_path" in scope else str(path)
