"""What guards routes: the middleware, `require("scope", ...)`, `CurrentUser`, and their routers."""

import logging
from collections.abc import Awaitable
from copy import copy
from itertools import pairwise
from typing import Annotated, Any, cast

from fastapi import APIRouter, FastAPI, HTTPException, Security
from fastapi.openapi.models import OAuth2, OAuthFlows
from fastapi.routing import APIRoute, APIWebSocketRoute
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .auth0 import SCHEME, Auth0
from .errors import InvalidToken, Refusal, for_connection
from .user import User

logger = logging.getLogger(__name__)

# In the connection's scope: the Auth0 to ask, and which one has verified the token, with the user.
AUTH0 = "dalkit.auth0"
USER = "dalkit.user"

_HEADER = b"authorization"
SUBPROTOCOL = "bearer"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})  # ask for nothing but an answer (RFC 9110, 9.2.1)


async def verified_user(connection: HTTPConnection) -> User:
    """Return the user of the token, and leave it in the connection's state.

    `state.user` is the model and `state.user_sub` its `sub`, for log lines and alerts. They are
    never read here: what a request may do is decided by its own token alone. That is verified once
    a request, however many scopes its route and routers require.
    """
    auth0 = connection.scope.get(AUTH0)
    if not isinstance(auth0, Auth0):
        raise RuntimeError("No AuthMiddleware: give FastAPI Middleware(AuthMiddleware, auth0=...).")
    by, known = connection.scope.get(USER, (None, None))
    if by is auth0:  # and not another one, of an app that this one is mounted in
        return cast(User, known)
    try:
        user = await auth0.verify(bearer_token(connection))
    except HTTPException as refusal:
        if isinstance(refusal, InvalidToken):
            logger.info("access token refused: %s", refusal.reason)
        raise for_connection(connection, refusal) from None
    connection.scope[USER] = auth0, user
    connection.scope.setdefault("state", {}).update(user=user, user_sub=user.sub)
    return user


class VerifiedUser(SecurityBase):
    """The dependency that guards. It is one, because each costs as much as the check itself.

    For OpenAPI it is a mark without URLs: those are the Auth0's, see `Auth0.describe`.
    """

    scheme_name = SCHEME
    model = OAuth2(flows=OAuthFlows())

    async def __call__(self, connection: HTTPConnection, required: SecurityScopes) -> User:
        """Return the user, who has every required scope; ends the request with 403 otherwise."""
        user = await verified_user(connection)
        if not user.scopes.issuperset(required.scopes):
            scope = required.scope_str  # all that are required, space separated
            detail = f"The access token lacks a scope: {scope}."
            refusal = Refusal(403, detail, error="insufficient_scope", scope=scope)
            raise for_connection(connection, refusal)
        return user


current_user = VerifiedUser()


def require(*scopes: str) -> Any:
    """Return what asks for a valid token that has all `scopes`; 401 or 403 otherwise.

    In `dependencies=[...]` of a route or router, or `Annotated[User, require(...)]` for a handler.
    """
    return Security(current_user, scopes=list(scopes))


CurrentUser = Annotated[User, Security(current_user)]
"""The user of a valid token, whatever its scopes; 401 without one. Typed as `User`."""


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

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Call the app with a `receive` that may raise; FastAPI answers what it raises."""
        if scope["type"] != "lifespan":
            scope[AUTH0] = self.auth0

        async def receive_for_user() -> Message:
            if self._is_guarded(scope):
                await verified_user(HTTPConnection(scope))
            return await receive()

        return self.app(scope, receive_for_user if scope["type"] == "http" else receive, send)

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


def include_guarded(app: FastAPI, router: APIRouter, *, prefix: str, read: str, write: str) -> None:
    """Include `router`; its safe methods and WebSockets need the scope `read`, the rest `write`.

    A route with methods of both kinds needs `write`. Call it when the router has all its routes: a
    later one is not served. Raises TypeError for what FastAPI would serve without asking for a
    token (`add_route`, `mount`) and for routers inside of the router: include those like this one.
    """
    for route in router.routes:
        if not isinstance(route, APIRoute | APIWebSocketRoute):
            where = getattr(route, "path", None) or type(route).__name__
            raise TypeError(
                f"{where!r} cannot be guarded: give include_guarded a router whose routes are all "
                "made by its decorators (@router.get, ..., @router.websocket)."
            )
    for scope, is_safe in ((read, True), (write, False)):
        part = copy(router)
        part.routes = [
            route  # a WebSocket's has no methods
            for route in router.routes
            if SAFE.issuperset(getattr(route, "methods", ())) is is_safe
        ]
        if not is_safe:  # what starts with the router starts once
            part.lifespan_context = APIRouter().lifespan_context
            part.on_startup, part.on_shutdown = [], []
        app.include_router(part, prefix=prefix, dependencies=[require(scope)])


class Me(BaseModel):
    """The caller."""

    sub: str
    scopes: list[str]


me_router = APIRouter(tags=["auth"])
"""GET /me: what the caller's token says, for clients and for trying a login."""


@me_router.get("/me")
async def read_me(user: CurrentUser) -> Me:
    """Return the subject and the scopes of the access token."""
    return Me(sub=user.sub, scopes=sorted(user.scopes))


def bearer_token(connection: HTTPConnection) -> str:
    """Return the token as it was sent; raises HTTPException when there is none or more than one.

    It comes in the Authorization header (RFC 6750 section 2.1). A browser cannot set headers on a
    WebSocket: there, it may come as the subprotocol after `bearer` instead. Never in the URL, which
    is logged along the way.
    """
    # Not connection.headers: that decodes all of them.
    sent: list[tuple[bytes, bytes]] = connection.scope["headers"]
    headers = [value.decode("latin-1") for name, value in sent if name == _HEADER]
    split = [header.partition(" ") for header in headers]
    tokens = [token.strip(" ") for scheme, _, token in split if scheme.lower() == "bearer"]
    if offered := connection.scope.get("subprotocols"):  # only a WebSocket's scope has it
        tokens += [token for name, token in pairwise(offered) if name == SUBPROTOCOL]
    if len(headers) > 1 or len(tokens) > 1:
        raise Refusal(400, "Send exactly one access token.", error="invalid_request")
    if not tokens or not tokens[0]:  # without an error code: nothing was presented
        raise Refusal(401, "This needs an access token.")
    return tokens[0]
