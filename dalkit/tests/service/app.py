"""The composition root: every part of the service, in the order in which it starts."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI

from dalkit import DataAccessLayer, TransactionMiddleware
from dalkit.auth import install_auth, require
from dalkit.database import with_engines, with_tables
from dalkit.observe.telemetry import observe, telemetry
from dalkit.settings import Settings
from dalkit.slack import install_slack
from dalkit.web import health
from dalkit.web.garbage import frozen_garbage
from dalkit.web.middleware import install_middleware
from dalkit.web.problems import install_problems
from dalkit.web.route_index import index_routes
from dalkit.web.shutdown import Shutdown

from . import authors, books
from .books import bulk

#: What is checked against the reflected tables.
ENTITIES = (authors.Author, books.Book, books.BookQuery)


def create_app(settings: Settings, dal: DataAccessLayer | None = None) -> FastAPI:
    """The application; a function, so that a test can have one with its own settings.

    A `dal` that is passed in is used as it is and stays its owner's to close.
    """
    used = dal or DataAccessLayer(fast_path=settings.database_fast_path)

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
        title="my-service",
        version="0.1.0",
        summary="A FastAPI service on PostgreSQL.",
        lifespan=lifespan,
        telemetry=telemetry(),
        docs_url="/docs" if settings.docs_enabled else None,
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs_enabled else None,
    )
    app.add_middleware(TransactionMiddleware, dal=used)  # the innermost
    install_middleware(app, settings, body_limits={"/v1/books/bulk": bulk.MAX_UPLOAD})
    _add_routes(app, settings)
    index_routes(app)
    install_problems(app)
    return app


def _add_routes(app: FastAPI, settings: Settings) -> None:
    """Mount every router. Public are health and the docs page; the rest needs an access token."""
    app.include_router(health.router)
    install_auth(app, settings)
    reads, writes = [require("read:books")], [require("write:books")]
    app.include_router(bulk.reads, prefix="/v1", dependencies=reads)
    app.include_router(bulk.writes, prefix="/v1", dependencies=writes)
    app.include_router(books.reads, prefix="/v1", dependencies=reads)
    app.include_router(books.writes, prefix="/v1", dependencies=writes)
    app.include_router(authors.reads, prefix="/v1", dependencies=reads)
    app.include_router(authors.writes, prefix="/v1", dependencies=writes)
    install_slack(app, settings, dependencies=[require()])
