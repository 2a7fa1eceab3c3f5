"""A small app with the service's own middleware and errors, to break in a test's own way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.middleware import Middleware

from dalkit.slack import AlertMiddleware, SlackNotifier
from dalkit.slack.delivery import Pace
from dalkit.slack.report import Origin
from dalkit.web import problem_handlers

from tests.web.apps import middleware

ORIGIN = Origin("books", "1.2.3", "testing")
QUICK = Pace(interval=0.0, tries=3, pause=0.01, drain=10.0)


def notifier_for(url: str | None, **options: Any) -> SlackNotifier:
    """Return a notifier that is in a hurry."""
    quick: dict[str, Any] = {"origin": ORIGIN, "pace": QUICK}
    return SlackNotifier(webhook_url=url, **quick | options)


def alerting_app(notifier: SlackNotifier) -> FastAPI:
    """Return an app without routes that reports to `notifier`."""
    return FastAPI(
        title="books",
        version="1.2.3",
        middleware=[
            Middleware(AlertMiddleware, notifier=notifier),
            *middleware(max_body_size=100_000),
        ],
        exception_handlers=problem_handlers,
    )


@asynccontextmanager
async def calling(app: FastAPI, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that gets the 500 where a server would log the exception."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://books.example", headers=headers
    ) as client:
        yield client
