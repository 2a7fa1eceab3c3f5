"""Every route of the service asks for a token, but for the ones that are named here."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Mount, WebSocketRoute

JSON = {"Content-Type": "application/json"}
DOCS = ("", "/initializer.js", "/oauth2-redirect", "/oauth2-redirect.js", "/{file}")
PUBLIC = {"/livez", "/readyz", "/openapi.json", *(f"/docs{path}" for path in DOCS)}


def walk(routes: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every route with its full path: of included routers and of mounted apps, too."""
    for route in routes:
        inner = getattr(route, "effective_candidates", None)
        if inner is not None:
            yield from walk(inner(), prefix)
        elif isinstance(route, Mount):
            yield from walk(route.routes or [], prefix + route.path)
            yield prefix + route.path + "/", route
        else:
            effective = getattr(route, "starlette_route", None) or route
            yield prefix + effective.path, effective


def url_of(path: str) -> str:
    """Return the path with 1 for each of its parameters."""
    return re.sub(r"{[^}]*}", "1", path)


def methods(route: Any) -> list[str]:
    """Return the methods that the route answers; a mounted app may answer any."""
    return sorted(getattr(route, "methods", None) or ["GET", "POST"])


def test_walk_sees_the_routes(app: FastAPI) -> None:
    """A walk that misses routes would prove nothing: it sees at least all that OpenAPI knows."""
    seen = {re.sub(r":\w+}", "}", path) for path, _ in walk(app.routes)}
    assert app.openapi()["paths"].keys() | PUBLIC <= seen


async def test_routes_ask_for_a_token(app: FastAPI, anonymous: httpx.AsyncClient) -> None:
    """401 before anything else is looked at: the path's values, the query, the body."""
    for path, route in walk(app.routes):
        if path in PUBLIC or isinstance(route, WebSocketRoute):
            continue
        for method in methods(route):
            response = await anonymous.request(method, url_of(path), content="{", headers=JSON)
            assert response.status_code == 401, f"{method} {path} is public"
            assert response.headers["www-authenticate"] == 'Bearer realm="api"'
            assert response.headers["cache-control"] == "no-store"


async def test_websockets_ask_for_a_token(app: FastAPI) -> None:
    """Closed before they are accepted."""
    for path, route in walk(app.routes):
        if isinstance(route, WebSocketRoute):
            assert await refused(app, path), f"WebSocket {path} is public"


async def refused(app: FastAPI, path: str) -> bool:
    """Return whether the first thing that a client without a token gets is a close."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"} if not sent else {"type": "websocket.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": path, "query_string": b"", "headers": [], "state": {}}
    await app({**scope, "subprotocols": []}, receive, send)
    closed = {
        "type": "websocket.close",
        "code": 1008,
        "reason": "This needs an access token.",
    }
    return bool(sent[0] == closed)


@pytest.mark.parametrize("path", sorted(PUBLIC - {"/readyz"}))
async def test_public_routes_are_public(path: str, anonymous: httpx.AsyncClient) -> None:
    """The list has no route that is not there."""
    url = path.replace("{file}", "swagger-ui.css")
    assert (await anonymous.get(url)).status_code == 200


async def test_refusal_is_a_problem(anonymous: httpx.AsyncClient) -> None:
    """RFC 9457, like every error of the service."""
    response = await anonymous.get("/v1/me")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == 401


async def test_a_test_has_both_clients(
    client: httpx.AsyncClient, anonymous: httpx.AsyncClient
) -> None:
    assert (await client.get("/v1/me")).status_code == 200
    assert (await anonymous.get("/v1/me")).status_code == 401
