"""A small guarded app that needs no database, and clients for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import APIRouter, FastAPI, WebSocket

from {{ cookiecutter.__package_name }}.auth import Auth0, CurrentUser, require
from {{ cookiecutter.__package_name }}.auth.install import attach

from dev.issuer import Issuer


def guarded_app(auth0: Auth0) -> FastAPI:
    """Return an app with a public route, guarded ones and a guarded WebSocket."""
    guarded = APIRouter()

    @guarded.get("/sub")
    async def read_sub(user: CurrentUser) -> str:
        return user.sub

    @guarded.websocket("/echo")
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    app = FastAPI()
    app.add_api_route("/public", lambda: "public")
    app.include_router(guarded, prefix="/any", dependencies=[require()])
    app.include_router(guarded, prefix="/reads", dependencies=[require("read:books")])
    app.include_router(guarded, prefix="/both", dependencies=[require("read:books", "write:books")])
    attach(app, auth0)
    return app


def accepting(issuer: Issuer, **options: Any) -> Auth0:
    """Return an Auth0 that accepts the issuer's tokens."""
    return Auth0(api_audience=issuer.audience, dev_issuer=issuer.url, **options)


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the app while its lifespan runs."""
    async with LifespanManager(app) as manager:
        transport = httpx.ASGITransport(manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


@pytest.fixture
def auth0(issuer: Issuer) -> Auth0:
    """Return an Auth0 that accepts the issuer's tokens."""
    return accepting(issuer)


@pytest.fixture(scope="session")
async def api(issuer: Issuer) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the small app. It sends no token of its own."""
    async with serving(guarded_app(accepting(issuer))) as client:
        yield client
