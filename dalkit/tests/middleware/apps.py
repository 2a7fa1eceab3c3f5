"""A small app with the service's own middleware and errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
from fastapi import FastAPI, Request
from starlette.types import ASGIApp

from dalkit.web.middleware import install_middleware
from dalkit.web.problems import install_problems


def wrapped_app(**settings: Any) -> FastAPI:
    """Return an app with a few routes inside the middleware that `settings` describe."""
    closed = {"max_body_size": 1000, "cors_origins": [], "trusted_hosts": []}
    app = FastAPI()
    install_problems(app)
    install_middleware(app, SimpleNamespace(**closed | settings))

    @app.get("/fine/{number}")
    async def fine(number: int, request: Request) -> str:
        return str(request.state.request_id)

    @app.get("/broken")
    async def broken() -> None:
        raise ValueError("broken")

    @app.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    @app.get("/livez")
    async def livez() -> str:
        return "alive"

    return app


@asynccontextmanager
async def calling(
    app: ASGIApp, base_url: str = "http://books.example", **headers: str
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that gets the 500 where a server would log the exception."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=base_url, headers=headers) as client:
        yield client
