"""Finds the route of a request by how its path begins, however many resources there are."""

import re
from collections.abc import Iterator
from copy import copy
from functools import cache
from urllib.parse import unquote_to_bytes

import structlog
from fastapi import APIRouter, FastAPI, __version__
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import iter_route_contexts
from starlette._utils import get_route_path
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import BaseRoute, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from .compiled import CompiledRoute, OtherRoute, compile_routes, is_proved, raising

logger = structlog.get_logger(__name__)

#: Where the scope has what was found for a request, on its way to the router.
_FOUND = "dalkit.found"
#: Segments of a path that are looked at, which /api/catalog/v1/books needs.
DEPTH = 4

Segments = tuple[str, ...]


def index_routes(app: FastAPI, *, compiled: bool = True) -> None:
    """Let the application find its routes through an index; call it when all routes are added.

    With `compiled`, those that are plain are served without asking FastAPI what their parameters
    are for each request. Other versions of FastAPI than dalkit was tried with serve all of them.
    """
    if compiled and not is_proved():
        logger.info("FastAPI serves all routes: this version was not tried", fastapi=__version__)
    index = RouteIndex(app.router, compiled=compiled and is_proved())
    app.router.middleware_stack = index
    if index.compiles:
        app.user_middleware.append(Middleware(CompiledMiddleware, index=index))


class RouteIndex:
    """Asks only those routers that can match; FastAPI asks all of them, twice, one by one.

    They are asked in the same order and by FastAPI itself. When none of them matches, all are:
    that finds what was added to a router later on, and answers 404.
    """

    def __init__(self, router: APIRouter, *, compiled: bool) -> None:
        self.router = router
        self.compiles = compiled
        self._indexed = 0  # routes
        self._candidates: dict[Segments, _Candidates] = {}
        self._all = _Candidates((), router.app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request to the candidates; everything but HTTP to the whole router.

        Raises RequestValidationError for a URL that is not UTF-8.
        """
        app: ASGIApp | None = scope.pop(_FOUND, None)
        if app is None:
            if scope["type"] == "http":
                app = await self.serve(scope, receive, send)
            else:
                if scope["type"] == "lifespan":
                    self._index()
                app = self.router.app
        if app is not None:
            await app(scope, receive, send)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> ASGIApp | None:
        """Answer a request by a compiled route; or return what has to answer it."""
        if len(self.router.routes) != self._indexed:
            self._index()
        try:
            _require_utf8(scope)
        except RequestValidationError as error:
            return raising(error)
        scope["router"] = self.router  # for url_for
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        return await self._find(path).serve(scope, receive, send)

    def _find(self, path: str) -> "_Candidates":
        segments = tuple(path.split("/", DEPTH + 1)[1 : DEPTH + 1])
        for length in range(len(segments), -1, -1):
            if found := self._candidates.get(segments[:length]):
                return found
        return self._all

    def _index(self) -> None:
        beginnings = [(route, set(_beginnings(route))) for route in self.router.routes]
        self._indexed = len(beginnings)
        self._candidates = {
            wanted: self._only([route for route, those in beginnings if _may_match(those, wanted)])
            for wanted in set().union(*(those for _, those in beginnings))
        }

    def _only(self, routes: list[BaseRoute]) -> "_Candidates":
        """The router with these routes only, which leaves what they do not match to the whole."""
        router = copy(self.router)
        router.routes, router.default = routes, self.router.app
        return _Candidates(tuple(compile_routes(routes)) if self.compiles else (), router.app)


def _require_utf8(scope: Scope) -> None:
    """Refuse bytes for which the server and Starlette put U+FFFD: they are nobody's value."""
    for name, part in (("path", scope.get("raw_path")), ("query", scope["query_string"])):
        if part and (b"%" in part or not part.isascii()):
            try:
                unquote_to_bytes(part).decode()
            except UnicodeDecodeError:
                error = {"loc": (name,), "msg": "Percent-encode UTF-8", "type": "utf8"}
                raise RequestValidationError([error]) from None


class _Candidates:
    """Serves a request by the first route that it is for; leaves it to FastAPI when none is."""

    def __init__(self, routes: tuple[CompiledRoute | OtherRoute, ...], otherwise: ASGIApp) -> None:
        self._routes = routes
        self.otherwise = otherwise

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> ASGIApp | None:
        path, method = get_route_path(scope), scope["method"]
        is_traced = scope.get("fastapi.telemetry") is not None  # FastAPI names the span on its way
        for route in self._routes if not is_traced else ():
            if method in route.methods and (found := route.path_regex.match(path)):
                if isinstance(route, CompiledRoute):
                    scope["path_params"] = {**scope.get("path_params", {}), **found.groupdict()}
                    return await route.serve(scope, receive, send)
                break
        return self.otherwise


class CompiledMiddleware:
    """Serves compiled routes outside of FastAPI's own middlewares, which they do not need.

    What raises, is refused, or is not compiled goes through them. Has to be the innermost of the
    application's: where another one is in between, the index serves the routes behind that.
    """

    def __init__(self, app: ASGIApp, index: RouteIndex) -> None:
        self.app = app
        self._index = index
        self._is_innermost = False
        if isinstance(app, ExceptionMiddleware) and type(app.app) is AsyncExitStackMiddleware:
            self._is_innermost = app.app.app is index.router
            # Who answers errors outside of that middleware, as of COMMIT, finds its handlers there.
            self._handlers = app._exception_handlers, app._status_handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or say what has to and pass it on."""
        if self._is_innermost and scope["type"] == "http":
            scope["starlette.exception_handlers"] = self._handlers
            app = await self._index.serve(scope, receive, send)
            if app is None:
                return
            scope[_FOUND] = app
        await self.app(scope, receive, send)


def _beginnings(route: BaseRoute) -> Iterator[Segments]:
    """How the paths of a route, or of all routes of a router, begin: up to the first parameter."""
    for context in iter_route_contexts([route]):
        path = getattr(context, "path", None) or ""
        fixed, parameter, _ = path.partition("{")
        segments = fixed.split("/")[1:]
        yield tuple(segments[:-1] if parameter or not segments[-1:] else segments)[:DEPTH]


def _may_match(beginnings: set[Segments], wanted: Segments) -> bool:
    return any(one[: len(wanted)] == wanted[: len(one)] for one in beginnings)


def allowed_methods(scope: Scope) -> str:
    """The methods of a path over all routes that match it, as `Allow` lists them.

    A route answers 405 with its own methods only; RFC 9110, section 10.2.1, wants all of them.
    """
    path = get_route_path(scope)
    contexts = iter_route_contexts(scope["app"].router.routes)
    found = (each.methods for each in contexts if each.path and _matches(each.path, path))
    methods = {method for each in found for method in each or ()}
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


@cache
def _pattern(route: str) -> re.Pattern[str]:
    return compile_path(route)[0]


def _matches(route: str, path: str) -> bool:
    return _pattern(route).match(path) is not None
