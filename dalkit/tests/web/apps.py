"""A small app with the service's own middleware and errors."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.middleware import Middleware
from starlette.types import ASGIApp

from dalkit.web import (
    AccessLogMiddleware,
    BodyLimitMiddleware,
    CorsMiddleware,
    RequestIdMiddleware,
    SecurityHeadersMiddleware,
    ServerErrorMiddleware,
    TrustedHostsMiddleware,
    document,
    problem_handlers,
)


def middleware(
    *,
    max_body_size: int = 1000,
    cors_origins: Sequence[str] = (),
    trusted_hosts: Sequence[str] = (),
) -> list[Middleware]:
    """The list of a service's app.py, without a database, Auth0 and Slack."""
    return [
        Middleware(RequestIdMiddleware),
        Middleware(AccessLogMiddleware),
        Middleware(SecurityHeadersMiddleware),
        Middleware(CorsMiddleware, origins=cors_origins),
        Middleware(TrustedHostsMiddleware, hosts=trusted_hosts),
        Middleware(BodyLimitMiddleware, max_body_size=max_body_size),
        Middleware(ServerErrorMiddleware),
    ]


def wrapped_app(**settings: Any) -> FastAPI:
    """Return an app with a few routes inside the middleware that `settings` describe."""
    app = FastAPI(middleware=middleware(**settings), exception_handlers=problem_handlers)
    document(app)

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
