"""A small guarded app that needs no database, and clients for it."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import APIRouter, FastAPI, WebSocket
from fastapi.middleware import Middleware

from dalkit.auth import Auth0, AuthMiddleware, CurrentUser, keys, me_router, require
from dalkit.dev.issuer import Issuer
from dalkit.web import document

from .key_server import KeyServer, key_server


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

    app = auth_app(auth0)
    app.add_api_route("/public", lambda: "public")
    app.include_router(guarded, prefix="/any", dependencies=[require()])
    app.include_router(guarded, prefix="/reads", dependencies=[require("read:books")])
    app.include_router(guarded, prefix="/both", dependencies=[require("read:books", "write:books")])
    document(app, auth0.describe)
    return app


def auth_app(auth0: Auth0) -> FastAPI:
    """Return an app whose tokens `auth0` verifies while its lifespan runs, with /v1/me."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with auth0:
            yield

    app = FastAPI(
        lifespan=lifespan,
        middleware=[Middleware(AuthMiddleware, auth0=auth0)],
        swagger_ui_init_oauth=auth0.docs_login,
    )
    app.include_router(me_router, prefix="/v1")
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


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def signer(issuer: Issuer) -> Issuer:
    """An issuer whose keys the misbehaving server serves."""
    return Issuer(key=issuer.key)


@pytest.fixture
def server(signer: Issuer) -> Iterator[KeyServer]:
    """A key server on the loopback with the signer's keys."""
    with key_server() as it:
        signer.url = it.url
        it.key_set = signer.key_set()
        yield it


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that sets the timeout of a fetch, in seconds."""
    return partial(monkeypatch.setattr, keys, "TIMEOUT")


@pytest.fixture
def clock() -> Clock:
    """The clock of the keys."""
    return Clock()


@pytest.fixture
def guarded(server: KeyServer, clock: Clock) -> Auth0:
    """Accept tokens of the signer; the clock of the keys stands still."""
    return Auth0(api_audience="https://api.example.com", dev_issuer=server.url, clock=clock)


@pytest.fixture
async def keyed(guarded: Auth0) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the small app whose keys come from the server."""
    async with serving(guarded_app(guarded)) as api:
        yield api


async def status(api: httpx.AsyncClient, token: str) -> int:
    """Return how the guarded route answers a token."""
    headers = {"Authorization": f"Bearer {token}"}
    return (await api.get("/any/sub", headers=headers)).status_code
