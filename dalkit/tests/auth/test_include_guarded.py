"""A router under one scope for reading and another one for writing, and nothing of it is public."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from dalkit.auth import Auth0, include_guarded
from dalkit.dev.issuer import Issuer
from dalkit.web import document

from .conftest import auth_app, serving
from .test_websocket import connect

READ, WRITE = "read:books", "write:books"


async def answer() -> str:
    return "ok"


def books() -> APIRouter:
    """A router with routes of each kind."""
    router = APIRouter(tags=["books"])
    router.add_api_route("/books", answer, methods=["GET"])
    router.add_api_route("/books", answer, methods=["POST"], name="add")
    router.add_api_route("/books/1", answer, methods=["GET"])
    router.add_api_route("/books/1", answer, methods=["HEAD"], include_in_schema=False)
    router.add_api_route("/books/1", answer, methods=["DELETE"], name="delete")
    router.add_api_route("/search", answer, methods=["GET", "POST"], include_in_schema=False)

    @router.websocket("/echo")
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    return router


def books_app(auth0: Auth0, router: APIRouter) -> FastAPI:
    """An app with this router under its two scopes."""
    app = auth_app(auth0)
    include_guarded(app, router, prefix="/v1", read=READ, write=WRITE)
    document(app, auth0.describe)
    return app


@pytest.fixture
def router() -> APIRouter:
    return books()


@pytest.fixture
async def shelf(auth0: Auth0, router: APIRouter) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app; it sends no token of its own."""
    async with serving(books_app(auth0, router)) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/v1/books", READ),
        ("POST", "/v1/books", WRITE),
        ("GET", "/v1/books/1", READ),
        ("HEAD", "/v1/books/1", READ),
        ("DELETE", "/v1/books/1", WRITE),
        ("GET", "/v1/search", WRITE),
        ("POST", "/v1/search", WRITE),
    ],
)
async def test_a_route_needs_the_scope_of_its_methods(
    shelf: httpx.AsyncClient, issuer: Issuer, method: str, path: str, needed: str
) -> None:
    """And no other one: the scope for writing does not read."""
    statuses = {}
    for scope in (READ, WRITE):
        headers = {"Authorization": f"Bearer {issuer.token([scope])}"}
        statuses[scope] = (await shelf.request(method, path, headers=headers)).status_code
    assert statuses == {READ: 403, WRITE: 403} | {needed: 200}
    assert (await shelf.request(method, path)).status_code == 401


@pytest.mark.parametrize(
    ("scopes", "first"), [([READ], "websocket.accept"), ([WRITE], "websocket.close")]
)
async def test_a_websocket_needs_the_scope_for_reading(
    scopes: list[str], first: str, auth0: Auth0, router: APIRouter, issuer: Issuer
) -> None:
    """Otherwise it is closed before it is accepted."""
    app = books_app(auth0, router)
    headers = {"authorization": f"Bearer {issuer.token(scopes)}"}
    assert (await connect(auth0, "/v1/echo", headers, app))[0]["type"] == first
    [refused] = await connect(auth0, "/v1/echo", {}, app)
    assert (refused["type"], refused["code"]) == ("websocket.close", 1008)


def test_the_document_names_the_scopes(auth0: Auth0, router: APIRouter) -> None:
    """Each operation its own, with the refusals and the router's tags."""
    paths = books_app(auth0, router).openapi()["paths"]
    needed = {
        (path, method): operation["security"]
        for path, operations in paths.items()
        for method, operation in operations.items()
        if path != "/v1/me"
    }
    assert needed == {
        ("/v1/books", "get"): [{"Auth0": [READ]}],
        ("/v1/books", "post"): [{"Auth0": [WRITE]}],
        ("/v1/books/1", "get"): [{"Auth0": [READ]}],
        ("/v1/books/1", "delete"): [{"Auth0": [WRITE]}],
    }
    added = paths["/v1/books"]["post"]
    assert added["tags"] == ["books"]
    assert {"401", "403", "503"} <= added["responses"].keys()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_route_that_is_added_later_is_not_public(
    shelf: httpx.AsyncClient, router: APIRouter, method: str
) -> None:
    """It is not there at all: nobody has said which scope it needs."""
    router.add_api_route("/later", answer, methods=[method])
    router.add_route("/plain", lambda _: PlainTextResponse("public"), methods=[method])
    for path in ("/v1/later", "/v1/plain"):
        assert (await shelf.request(method, path)).status_code == 404


def add_plain(router: APIRouter) -> None:
    router.add_route("/plain", lambda _: PlainTextResponse("public"))


def add_plain_websocket(router: APIRouter) -> None:
    async def public(websocket: WebSocket) -> None:
        await websocket.accept()

    router.add_websocket_route("/plain", public)


def add_mount(router: APIRouter) -> None:
    router.routes.append(Mount("/plain", app=PlainTextResponse("public")))


def add_router(router: APIRouter) -> None:
    router.include_router(books(), prefix="/plain")


@pytest.mark.parametrize("add", [add_plain, add_plain_websocket, add_mount, add_router])
def test_what_cannot_be_guarded_is_refused(
    add: Callable[[APIRouter], None], auth0: Auth0, router: APIRouter
) -> None:
    """FastAPI serves these without the router's dependencies, or has no methods for them."""
    add(router)
    with pytest.raises(TypeError, match="cannot be guarded: give include_guarded a router whose"):
        books_app(auth0, router)


async def test_what_starts_with_a_router_starts_once(auth0: Auth0) -> None:
    """Although its routes are included in two parts."""
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        events.append("start")
        yield
        events.append("stop")

    router = APIRouter(lifespan=lifespan)
    router.add_api_route("/books", answer, methods=["GET"])
    router.add_api_route("/books", answer, methods=["POST"], name="add")
    async with serving(books_app(auth0, router)):
        assert events == ["start"]
    assert events == ["start", "stop"]
