"""Nobody makes the service read a body without a token."""

from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Body, Depends, Request

from dalkit.auth import require
from dalkit.dev.issuer import Issuer

from .conftest import accepting, auth_app, serving

JSON = {"Content-Type": "application/json"}


class Upload:
    """A body that is sent in parts, and knows how many were taken."""

    def __init__(self) -> None:
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in (b"{", b'"a":', b"1}"):
            self.taken += 1
            yield part


@pytest.fixture
async def writes(issuer: Issuer) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app with routes that take bodies."""

    async def parsed(body: Annotated[dict[str, int], Body()]) -> dict[str, int]:
        return body

    async def streamed(request: Request) -> int:
        return len(await request.body())

    router = APIRouter(dependencies=[Depends(lambda: None)])
    router.add_api_route("/parsed", parsed, methods=["POST"])
    router.add_api_route("/streamed", streamed, methods=["POST"])
    app = auth_app(accepting(issuer))
    app.include_router(router, prefix="/public")
    app.include_router(router, prefix="/guarded", dependencies=[require("write:books")])
    app.add_api_route("/direct", parsed, methods=["POST"], dependencies=[require()])
    async with serving(app) as client:
        yield client


@pytest.mark.parametrize("path", ["/guarded/parsed", "/guarded/streamed", "/direct"])
async def test_not_a_byte_is_read_without_a_token(path: str, writes: httpx.AsyncClient) -> None:
    """401, and the upload is still where it was."""
    upload = Upload()
    response = await writes.post(path, content=upload, headers=JSON)
    assert (response.status_code, upload.taken) == (401, 0)


async def test_broken_json_without_a_token(writes: httpx.AsyncClient) -> None:
    """Who may not call is not told what is wrong with the call."""
    response = await writes.post("/guarded/parsed", content="{", headers=JSON)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="api"'


@pytest.mark.parametrize(("path", "answer"), [("/parsed", {"a": 1}), ("/streamed", 7)])
async def test_with_a_token_the_body_arrives(
    path: str, answer: object, issuer: Issuer, writes: httpx.AsyncClient
) -> None:
    """Whole."""
    headers = {**JSON, "Authorization": f"Bearer {issuer.token(['write:books'])}"}
    response = await writes.post(f"/guarded{path}", content=Upload(), headers=headers)
    assert (response.status_code, response.json()) == (200, answer)


@pytest.mark.parametrize(("path", "answer"), [("/parsed", {"a": 1}), ("/streamed", 7)])
async def test_public_routes_take_bodies(
    path: str, answer: object, writes: httpx.AsyncClient
) -> None:
    """The same handlers, mounted without `require`."""
    response = await writes.post(f"/public{path}", content=Upload(), headers=JSON)
    assert (response.status_code, response.json()) == (200, answer)
