"""A WebSocket is refused before it is accepted."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from dalkit.auth import Auth0
from dalkit.dev.issuer import Issuer

from .conftest import guarded_app


async def connect(
    auth0: Auth0, path: str, headers: dict[str, str], app: FastAPI | None = None
) -> list[dict[str, Any]]:
    """Return what the app sends to a client that opens a WebSocket and says hello."""
    offered = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]
    incoming = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hello"}]
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "subprotocols": [name for name in offered if name],
    }
    async with auth0:
        await (app or guarded_app(auth0))(scope, receive, send)
    return sent


async def test_good_token_gets_in(issuer: Issuer, auth0: Auth0) -> None:
    """The route runs, and echoes."""
    headers = {"authorization": f"Bearer {issuer.token(['read:books'])}"}
    sent = await connect(auth0, "/reads/echo", headers)
    assert [message["type"] for message in sent] == [
        "websocket.accept",
        "websocket.send",
        "websocket.close",
    ]


async def test_browser_sends_its_token_as_a_subprotocol(issuer: Issuer, auth0: Auth0) -> None:
    """`new WebSocket(url, ["bearer", token])`: a browser cannot set Authorization."""
    headers = {"sec-websocket-protocol": f"bearer, {issuer.token()}"}
    sent = await connect(auth0, "/any/echo", headers)
    assert sent[0]["type"] == "websocket.accept"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "This needs an access token."),
        ({"authorization": "Bearer x"}, "The access token is invalid."),
        ({"sec-websocket-protocol": "bearer"}, "This needs an access token."),
        ({"sec-websocket-protocol": "bearer, x"}, "The access token is invalid."),
        ({"sec-websocket-protocol": "chat, x"}, "This needs an access token."),
        (
            {"authorization": "Bearer x", "sec-websocket-protocol": "bearer, x"},
            "Send exactly one access token.",
        ),
    ],
)
async def test_without_a_good_token(headers: dict[str, str], reason: str, auth0: Auth0) -> None:
    """Closed with 1008 (policy violation), and nothing else is sent."""
    sent = await connect(auth0, "/any/echo", headers)
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": reason}]


async def test_without_a_scope(issuer: Issuer, auth0: Auth0) -> None:
    """The same close code: a client must not retry either way."""
    headers = {"authorization": f"Bearer {issuer.token()}"}
    sent = await connect(auth0, "/reads/echo", headers)
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]


async def test_without_keys(issuer: Issuer, free_tcp_port: int) -> None:
    """1013: a client may try again later."""
    url = f"http://127.0.0.1:{free_tcp_port}/"
    auth0 = Auth0(api_audience=issuer.audience, dev_issuer=url)
    headers = {"authorization": f"Bearer {issuer.token(iss=url)}"}
    sent = await connect(auth0, "/any/echo", headers)
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1013)]


async def test_subprotocol_is_not_read_from_a_request(issuer: Issuer, auth0: Auth0) -> None:
    """Only a WebSocket handshake may carry the token there."""
    transport = httpx.ASGITransport(guarded_app(auth0))
    async with auth0, httpx.AsyncClient(transport=transport, base_url="http://test") as api:
        headers = {"Sec-WebSocket-Protocol": f"bearer, {issuer.token()}"}
        assert (await api.get("/any/sub", headers=headers)).status_code == 401
