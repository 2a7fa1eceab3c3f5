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
from .database import with_engines, with_tables
from .db import DataAccessLayer, TransactionMiddleware
from .garbage import frozen_garbage
from .middleware import install_middleware
from .problems import install_problems
from .route_index import index_routes
from .settings import Settings
from .shutdown import Shutdown
{%- if cookiecutter.use_slack %}
from .slack import install_slack
{%- endif %}
from .telemetry import observe, telemetry

#: What is checked against the reflected tables.
ENTITIES = (authors.Author, books.Book, books.BookQuery)


def create_app(settings: Settings, dal: DataAccessLayer | None = None) -> FastAPI:
    """The application; a function, so that a test can have one with its own settings.

    A `dal` that is passed in is used as it is and stays its owner's to close.
    """
    used = dal or DataAccessLayer(fast_path=settings.database_fast_path)
    about = metadata("{{ cookiecutter.project_slug }}")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            shutdown = stack.enter_context(Shutdown(delay=settings.shutdown_delay))
            if dal is None:
                await stack.enter_async_context(with_engines(used, settings))
            stack.enter_context(observe(used))
            if dal is None:
                await stack.enter_async_context(with_tables(used, ENTITIES))
                stack.enter_context(frozen_garbage())
            yield {"dal": used, "entities": ENTITIES, "shutdown": shutdown}

    app = FastAPI(
        title=about["Name"],
        version=about["Version"],
        summary=about["Summary"],
        lifespan=lifespan,
        telemetry=telemetry(),
        docs_url="/docs" if settings.docs_enabled else None,
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs_enabled else None,
    )
    app.add_middleware(TransactionMiddleware, dal=used)  # the innermost
    install_middleware(app, settings{% if cookiecutter.use_bulk %}, body_limits={"/v1/books/bulk": bulk.MAX_UPLOAD}{% endif %})
    _add_routes(app, settings)
    index_routes(app)
    install_problems(app)
    return app


{% if cookiecutter.use_auth0 -%}
{%- set reads, writes = ", dependencies=reads", ", dependencies=writes" -%}
def _add_routes(app: FastAPI, settings: Settings) -> None:
    """Mount every router. Public are health and the docs page; the rest needs an access token."""
    app.include_router(health.router)
    install_auth(app, settings)
    reads, writes = [require("read:books")], [require("write:books")]
{%- else -%}
{%- set reads, writes = "", "" -%}
def _add_routes(app: FastAPI, settings: Settings) -> None:
    """Mount every router. All routes are public: this service has no authentication."""
    app.include_router(health.router)
{%- endif %}
{%- if cookiecutter.use_bulk %}
    app.include_router(bulk.reads, prefix="/v1"{{ reads }})
    app.include_router(bulk.writes, prefix="/v1"{{ writes }})
{%- endif %}
    app.include_router(books.reads, prefix="/v1"{{ reads }})
    app.include_router(books.writes, prefix="/v1"{{ writes }})
    app.include_router(authors.reads, prefix="/v1"{{ reads }})
    app.include_router(authors.writes, prefix="/v1"{{ writes }})
{%- if cookiecutter.use_slack %}
    install_slack(app, settings{% if cookiecutter.use_auth0 %}, dependencies=[require()]{% endif %})
{%- endif %}
