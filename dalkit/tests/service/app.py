"""The service that the tests are made for: the app.py of a generated service, and bulk routes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware import Middleware

from dalkit import DataAccessLayer, Database, Settings, TransactionMiddleware
from dalkit.auth import Auth0, AuthMiddleware, User, include_guarded, me_router, require
from dalkit.observe import telemetry
from dalkit.slack import AlertMiddleware, SlackNotifier, slack_router
from dalkit.web import (
    AccessLogMiddleware,
    BodyLimitMiddleware,
    CorsMiddleware,
    HeadMiddleware,
    RequestIdMiddleware,
    SecurityHeadersMiddleware,
    ServerErrorMiddleware,
    Shutdown,
    State,
    TrustedHostsMiddleware,
    document,
    health_router,
    index_routes,
    pages_router,
    problem_handlers,
)

from . import authors, books
from .books import bulk

#: Each brings a `router` and the `ENTITIES` that are checked against the tables at startup.
RESOURCES = (bulk, books, authors)


def create_app(settings: Settings, dal: DataAccessLayer | None = None) -> FastAPI:
    """The application; a function, so that a test can have one with its own settings."""
    entities = [entity for resource in RESOURCES for entity in resource.ENTITIES]
    database = Database(settings, entities=entities, dal=dal)
    auth0 = Auth0.from_settings(settings, user_model=User)
    notifier = SlackNotifier.from_settings(
        settings, service="my-service", version="0.1.0", authentication=auth0, package=__package__
    )
    shutdown = Shutdown(settings.shutdown_delay)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with shutdown, database, auth0, notifier:
            yield {"dal": database.dal, "database": database, "shutdown": shutdown}

    app = FastAPI(
        title="my-service",
        version="0.1.0",
        summary="A FastAPI service on PostgreSQL.",
        lifespan=lifespan,
        telemetry=telemetry(),
        middleware=[  # outermost first
            Middleware(AlertMiddleware, notifier=notifier),
            Middleware(RequestIdMiddleware),
            Middleware(AccessLogMiddleware),
            Middleware(SecurityHeadersMiddleware),
            Middleware(CorsMiddleware, origins=settings.cors_origins),
            Middleware(TrustedHostsMiddleware, hosts=settings.trusted_hosts),
            Middleware(
                BodyLimitMiddleware,
                max_body_size=settings.max_body_size,
                by_path={"/v1/library/bulk": bulk.MAX_UPLOAD},
            ),
            Middleware(ServerErrorMiddleware),
            Middleware(HeadMiddleware),
            Middleware(AuthMiddleware, auth0=auth0),
            Middleware(TransactionMiddleware, dal=database.dal),  # commits before the first byte
        ],
        exception_handlers=problem_handlers,
        docs_url=None,  # see pages_router
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs_enabled else None,
        swagger_ui_init_oauth=auth0.docs_login,
        redirect_slashes=False,
    )
    app.include_router(health_router)
    app.include_router(pages_router(settings))
    app.include_router(me_router, prefix="/v1")
    for resource in RESOURCES:
        include_guarded(app, resource.router, prefix="/v1", read="read:books", write="write:books")
    app.include_router(slack_router(notifier, dependencies=[require()]))
    index_routes(app, compiled=settings.compiled_routes)
    document(app, auth0.describe)
    return app
