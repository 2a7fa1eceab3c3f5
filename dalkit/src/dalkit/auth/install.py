"""Put authentication into an app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from ..settings import BadSetting, Settings
from .auth0 import Auth0
from .body import TokenBeforeBody
from .me import me_router
from .openapi import document


def install_auth(app: FastAPI, settings: Settings) -> Auth0:
    """Put the Auth0 of the settings into the app and return it.

    Raises BadSetting, one sentence, when a setting is missing or wrong.
    """
    if settings.auth0_dev_issuer and settings.environment == "production":
        raise BadSetting("AUTH0_DEV_ISSUER is set in production: unset it, or anyone may log in.")
    try:
        auth0 = Auth0(
            domain=settings.auth0_domain,
            api_audience=settings.auth0_audience,
            org_id=settings.auth0_org_id,
            client_id=settings.auth0_client_id,
            dev_issuer=settings.auth0_dev_issuer,
        )
    except ValueError as error:
        raise BadSetting(str(error)) from None
    attach(app, auth0)
    return auth0


def attach(app: FastAPI, auth0: Auth0) -> None:
    """Make `auth0` the one that `require` and `CurrentUser` ask (`app.state.auth0`).

    Adds /v1/me and the docs page's login. The Auth0 is entered in the app's lifespan: after what
    the app itself opens there, and it is left before that is closed.
    """

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        async with auth0:
            yield

    app.state.auth0 = auth0
    app.add_middleware(TokenBeforeBody)
    document(app, auth0)
    app.include_router(me_router(lifespan), prefix="/v1")
