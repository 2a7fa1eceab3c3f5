"""Tells the app which Auth0 verifies its tokens, and asks for the token before a body is read."""

from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .auth0 import Auth0
from .dependencies import AUTH0, current_user, verified_user


class AuthMiddleware:
    """Pure ASGI. `require` and `CurrentUser` behind it ask `auth0`.

    It refuses at the first read of a guarded route's body, unless there is a good token. FastAPI
    reads and parses a JSON body or a form before it runs any dependency: without this, anybody
    could make the service read one, and broken JSON would be 422 instead of 401.
    """

    def __init__(self, app: ASGIApp, auth0: Auth0) -> None:
        self.app = app
        self.auth0 = auth0
        self._guarded: dict[int, tuple[object, bool]] = {}  # by the id of the route, which it keeps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app with a `receive` that may raise; FastAPI answers what it raises."""
        if scope["type"] != "lifespan":
            scope[AUTH0] = self.auth0

        async def receive_for_user() -> Message:
            if self._is_guarded(scope):
                await verified_user(HTTPConnection(scope))
            return await receive()

        await self.app(scope, receive_for_user if scope["type"] == "http" else receive, send)

    def _is_guarded(self, scope: Scope) -> bool:
        # Where FastAPI 0.165 keeps the matched route with its routers' dependencies. Should it
        # move, the order is FastAPI's again and a test is red; the dependencies refuse in any case.
        route = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
        known = self._guarded.get(id(route))
        if known is None:
            known = self._guarded[id(route)] = route, _asks(getattr(route, "dependant", None))
        return known[1]


def _asks(dependant: Any) -> bool:
    return dependant is not None and (
        dependant.call is current_user or any(_asks(inner) for inner in dependant.dependencies)
    )
