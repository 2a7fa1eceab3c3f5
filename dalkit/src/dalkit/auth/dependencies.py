"""`require("scope", ...)` guards a router or a route, `CurrentUser` hands the user to it."""

import logging
from typing import Annotated, Any, cast

from fastapi import HTTPException, Security
from fastapi.security import SecurityScopes
from starlette.requests import HTTPConnection

from . import errors
from .auth0 import Auth0, ForbiddenUser
from .bearer import bearer_token
from .keys import KeysUnavailable
from .scheme import AccessTokenScheme
from .token import InvalidToken
from .user import User

logger = logging.getLogger(__name__)

# In the connection's scope: the Auth0 to ask, and which one has verified the token, with the user.
AUTH0 = "dalkit.auth0"
USER = "dalkit.user"


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
        user = await _verify(auth0, connection)
    except HTTPException as refusal:
        raise errors.for_connection(connection, refusal) from None
    connection.scope[USER] = auth0, user
    connection.state.user, connection.state.user_sub = user, user.sub
    return user


class VerifiedUser(AccessTokenScheme):
    """The dependency that guards. It is one, because each costs as much as the check itself."""

    async def __call__(self, connection: HTTPConnection, required: SecurityScopes) -> User:
        """Return the user, who has every required scope; ends the request with 403 otherwise."""
        user = await verified_user(connection)
        if not user.scopes.issuperset(required.scopes):
            refusal = errors.insufficient_scope(required.scope_str)
            raise errors.for_connection(connection, refusal)
        return user


current_user = VerifiedUser()


def require(*scopes: str) -> Any:
    """Return a dependency for `dependencies=[...]`: a valid token that has all `scopes`."""
    return Security(current_user, scopes=list(scopes))


CurrentUser = Annotated[User, Security(current_user)]


async def _verify(auth0: Auth0, connection: HTTPConnection) -> User:
    try:
        return await auth0.verify(bearer_token(connection))
    except InvalidToken as error:
        logger.info("access token refused: %s", error.reason)
        raise errors.invalid_token(expired=error.expired) from None
    except ForbiddenUser:
        raise errors.forbidden() from None
    except KeysUnavailable:
        raise errors.keys_unavailable() from None
