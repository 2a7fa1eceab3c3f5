"""A small app with the service's own middleware and errors, to break in a test's own way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
from fastapi import FastAPI

from dalkit.slack import SlackNotifier
from dalkit.slack.delivery import Pace
from dalkit.slack.middleware import AlertMiddleware
from dalkit.slack.report import Origin
from dalkit.web.middleware import install_middleware
from dalkit.web.problems import install_problems

ORIGIN = Origin("books", "1.2.3", "testing")
QUICK = Pace(interval=0.0, timeout=0.3, tries=3, pause=0.01, drain=1.0)
OPEN: Any = SimpleNamespace(max_body_size=100_000, cors_origins=[], trusted_hosts=[])


def notifier_for(url: str | None, **options: Any) -> SlackNotifier:
    """Return a notifier that is in a hurry."""
    quick: dict[str, Any] = {"origin": ORIGIN, "pace": QUICK}
    return SlackNotifier(webhook_url=url, **quick | options)


def alerting_app(notifier: SlackNotifier) -> FastAPI:
    """Return an app without routes that reports to `notifier`."""
    app = FastAPI(title="books", version="1.2.3")
    install_problems(app)
    install_middleware(app, OPEN)
    app.add_middleware(AlertMiddleware, notifier=notifier)
    return app


@asynccontextmanager
async def calling(app: FastAPI, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that gets the 500 where a server would log the exception."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://books.example", headers=headers
    ) as client:
        yield client
