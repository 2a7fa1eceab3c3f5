"""413 as a problem, whether the size was announced or not."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from .apps import calling, wrapped_app


class Thing(BaseModel):
    name: str


async def post(app: FastAPI, path: str, body: bytes, *, announced: bool) -> httpx.Response:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 100):
            yield body[start : start + 100]

    async with calling(app, **{"Content-Type": "application/json"}) as client:
        return await client.post(path, content=body if announced else chunks())


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_of_exactly_the_limit_passes(announced: bool) -> None:
    response = await post(wrapped_app(), "/echo", b"x" * 1000, announced=announced)
    assert (response.status_code, response.json()) == (200, 1000)


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("path", ["/echo", "/thing"])
async def test_one_byte_more_is_a_413(announced: bool, path: str) -> None:
    app = wrapped_app()

    @app.post("/thing")
    async def thing(thing: Thing) -> None: ...

    response = await post(app, path, b'"' + b"x" * 999 + b'"', announced=announced)
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == 413
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert "1000 bytes" in response.json()["detail"]


async def test_a_refused_body_never_reaches_the_app() -> None:
    app = wrapped_app()
    reached = []

    @app.post("/reached")
    async def never() -> None:
        reached.append(True)

    await post(app, "/reached", b"x" * 1001, announced=True)
    assert reached == []


@pytest.mark.parametrize("length", ["abc", "-1", "1e3", ""])
async def test_an_odd_length_is_counted_instead(length: str) -> None:
    async with calling(wrapped_app(), **{"Content-Length": length}) as client:
        response = await client.post("/echo", content=b"x" * 1001)
    assert response.status_code == 413
