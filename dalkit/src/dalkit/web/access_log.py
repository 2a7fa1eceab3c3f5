"""One log line a request, in place of the server's."""

import logging
from time import perf_counter
from typing import Any

from starlette.types import Receive, Scope, Send

from ..observe.logs import ACCESS, flush_requests, log_request
from .headers import PROBES
from .layers import Exchange, Layer

_LONGEST_PATH = 200

#: Asked first, because a line costs more than a route.
_logger = logging.getLogger(ACCESS)


class AccessLogMiddleware(Layer):
    """Logs method, route template, status, milliseconds, user and, by context, the request id.

    Leaves the template in `request.state.route`. The path is logged only when no route matched:
    it may hold what does not belong into a log. Probes are logged at DEBUG.
    """

    def after(self, exchange: Exchange, error: BaseException | None) -> None:
        """Log what the request became, with the name of an error that was raised."""
        seconds = perf_counter() - exchange.started_at
        _log(exchange.scope, exchange.status, seconds, error)

    async def pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write, when the lifespan ends, the lines that wait: a signal may end the process next."""
        await self.app(scope, receive, send)
        if scope["type"] == "lifespan":
            flush_requests()


def _log(scope: Scope, status: int, seconds: float, error: BaseException | None) -> None:
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
    if error is not None:
        facts["error"] = type(error).__name__
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
