"""One id for a request, wherever it is mentioned."""

import re

import pytest
from starlette.types import Receive, Scope, Send
from structlog.contextvars import get_contextvars

from .apps import calling, wrapped_app


async def test_the_caller_s_id_is_kept() -> None:
    async with calling(wrapped_app()) as client:
        response = await client.get("/fine/1", headers={"X-Request-ID": "abc.DEF-1_2"})
    assert response.headers["x-request-id"] == response.json() == "abc.DEF-1_2"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a\tb", "é", "<script>", '{"a":1}'])
async def test_an_odd_id_is_replaced(given: str) -> None:
    async with calling(wrapped_app()) as client:
        response = await client.get("/fine/1", headers={b"X-Request-ID": given.encode()})
    assert re.fullmatch("[0-9a-f]{32}", response.json())


async def test_every_request_has_its_own() -> None:
    async with calling(wrapped_app()) as client:
        ids = {(await client.get("/fine/1")).json() for _ in range(5)}
    assert len(ids) == 5


@pytest.mark.parametrize(
    ("path", "status"), [("/broken", 500), ("/nowhere", 404), ("/fine/x", 422), ("/echo", 405)]
)
async def test_errors_carry_it_in_body_and_header(path: str, status: int) -> None:
    async with calling(wrapped_app(), **{"X-Request-ID": "the-id"}) as client:
        response = await client.get(path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"] == response.json()["request_id"] == "the-id"


async def test_log_lines_carry_it() -> None:
    """The server's own line about an exception comes after the request: it must find it too."""
    app = wrapped_app()
    async with calling(app, **{"X-Request-ID": "the-id"}) as client:
        await client.get("/broken")
    assert get_contextvars() == {"request_id": "the-id"}


async def test_requests_do_not_share_state() -> None:
    """A server may hand every request the same state object."""
    app = wrapped_app()
    shared = {"dal": object()}

    async def with_shared_state(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = shared
        await app(scope, receive, send)

    async with calling(with_shared_state) as client:
        await client.get("/fine/1")
    assert list(shared) == ["dal"]
