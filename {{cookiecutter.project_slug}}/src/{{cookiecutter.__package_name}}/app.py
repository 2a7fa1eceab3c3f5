"""The composition root: every part of the service, in the order in which it starts."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import metadata
from typing import Any

from fastapi import FastAPI

from . import authors, books, health
{%- if cookiecutter.use_auth0 %}
from .auth import install_auth, require
{%- endif %}
{%- if cookiecutter.use_bulk %}
from .books import bulk
{%- endif %}
from .database import connected
from .db import DataAccessLayer, TransactionMiddleware
from .middleware import install_middleware
from .problems import install_problems
from .settings import Settings
from .shutdown import Shutdown
{%- if cookiecutter.use_slack %}
from .slack import install_slack
{%- endif %}
from .telemetry import TELEMETRY, observe

ENTITIES = (authors.Author, books.Book, books.BookQuery)


def create_app(settings: Settings, dal: DataAccessLayer | None = None) -> FastAPI:
    """The application; a function, so that a test can have one with its own settings.

    A `dal` that is passed in is used as it is and stays its owner's to close.
    """
    about = metadata("{{ cookiecutter.project_slug }}")
    own_dal = DataAccessLayer()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            shutdown = stack.enter_context(Shutdown(delay=settings.shutdown_delay))
            if dal is None:
                await stack.enter_async_context(connected(own_dal, settings, ENTITIES))
            stack.enter_context(observe(dal or own_dal))
            yield {"dal": dal or own_dal, "shutdown": shutdown}

    app = FastAPI(
        title=about["Name"],
        version=about["Version"],
        summary=about["Summary"],
        lifespan=lifespan,
        telemetry=TELEMETRY,
        docs_url="/docs" if settings.docs_enabled else None,
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs_enabled else None,
    )
    install_problems(app)
    app.add_middleware(TransactionMiddleware, dal=dal or own_dal)
    install_middleware(app, settings)
    app.include_router(health.router)
{%- if cookiecutter.use_auth0 %}
    install_auth(app, settings)
{%- endif %}
{%- if cookiecutter.use_bulk %}
    app.include_router(bulk.reads, prefix="/v1"{% if cookiecutter.use_auth0 %}, dependencies=[require("read:books")]{% endif %})
    app.include_router(bulk.writes, prefix="/v1"{% if cookiecutter.use_auth0 %}, dependencies=[require("write:books")]{% endif %})
{%- endif %}
{%- for resource in ["books", "authors"] %}
    app.include_router({{ resource }}.reads, prefix="/v1"{% if cookiecutter.use_auth0 %}, dependencies=[require("read:books")]{% endif %})
    app.include_router({{ resource }}.writes, prefix="/v1"{% if cookiecutter.use_auth0 %}, dependencies=[require("write:books")]{% endif %})
{%- endfor %}
{%- if cookiecutter.use_slack %}
    install_slack(app, settings{% if cookiecutter.use_auth0 %}, dependencies=[require()]{% endif %})
{%- endif %}
    return app
