"""Finds the route of a request by how its path begins, however many resources there are."""

import re
from collections.abc import Iterator
from copy import copy
from functools import cache

from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from starlette._utils import get_route_path
from starlette.routing import BaseRoute, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

#: Segments of a path that are looked at: /v1/books.
DEPTH = 2

Segments = tuple[str, ...]


def index_routes(app: FastAPI) -> None:
    """Let the application find its routes through an index; call it when all routes are added."""
    app.router.middleware_stack = RouteIndex(app.router)


class RouteIndex:
    """Asks only those routers that can match; FastAPI asks all of them, twice, one by one.

    They are asked in the same order and by FastAPI itself. When none of them matches, all are:
    that finds what was added to a router later on, and answers 404.
    """

    def __init__(self, router: APIRouter) -> None:
        self._router = router
        self._indexed = 0  # routes
        self._candidates: dict[Segments, ASGIApp] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request to the candidates; everything but HTTP to the whole router."""
        if scope["type"] != "http":
            await self._router.app(scope, receive, send)
            return
        if len(self._router.routes) != self._indexed:
            self._index()
        scope["router"] = self._router  # for url_for
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        await self._find(path)(scope, receive, send)

    def _find(self, path: str) -> ASGIApp:
        segments = tuple(path.split("/", DEPTH + 1)[1 : DEPTH + 1])
        for length in range(len(segments), -1, -1):
            if found := self._candidates.get(segments[:length]):
                return found
        return self._router.app

    def _index(self) -> None:
        beginnings = [(route, set(_beginnings(route))) for route in self._router.routes]
        self._indexed = len(beginnings)
        self._candidates = {
            wanted: self._only([route for route, those in beginnings if _may_match(those, wanted)])
            for wanted in set().union(*(those for _, those in beginnings))
        }

    def _only(self, routes: list[BaseRoute]) -> ASGIApp:
        """The router with these routes only, which leaves what they do not match to the whole."""
        router = copy(self._router)
        router.routes, router.default = routes, self._router.app
        return router.app


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
