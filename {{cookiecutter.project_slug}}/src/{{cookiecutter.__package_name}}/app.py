"""The service: what starts with it, what every request passes, and the resources it serves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import metadata
from types import ModuleType

from dalkit import DataAccessLayer, Database, TransactionMiddleware
{%- if cookiecutter.use_auth0 %}
from dalkit.auth import Auth0, AuthMiddleware, User, include_guarded, me_router{% if cookiecutter.use_slack %}, require{% endif %}
{%- endif %}
from dalkit.observe import telemetry
{%- if cookiecutter.use_slack %}
from dalkit.slack import AlertMiddleware, SlackNotifier, slack_router
{%- endif %}
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
from fastapi import FastAPI
from fastapi.middleware import Middleware

from . import authors, books
from .settings import Settings

#: Each brings a `router` and the `ENTITIES` that are checked against the tables at startup.
RESOURCES: tuple[ModuleType, ...] = (books, authors)
{%- if cookiecutter.use_auth0 %}
#: What read:... and write:... are followed by in the scopes of a resource, when it is not its name.
SCOPES: dict[ModuleType, str] = {authors: "books"}
{%- endif %}


def create_app(settings: Settings, dal: DataAccessLayer | None = None) -> FastAPI:
    """The application; a function, so that a test can have one with its own settings.

    A `dal` that is passed in is used as it is and stays its owner's to close.
    """
    about = metadata("{{ cookiecutter.project_slug }}")
    entities = [entity for resource in RESOURCES for entity in resource.ENTITIES]
    database = Database(settings, entities=entities, dal=dal)
{%- if cookiecutter.use_auth0 %}
    auth0 = Auth0.from_settings(settings, user_model=User)
{%- endif %}
{%- if cookiecutter.use_slack %}
    notifier = SlackNotifier.from_settings(
        settings,
        service=about["Name"],
        version=about["Version"],
{%- if cookiecutter.use_auth0 %}
        authentication=auth0,
{%- endif %}
        package=__package__,
    )
{%- endif %}
    shutdown = Shutdown(settings.shutdown_delay)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with shutdown, database{% if cookiecutter.use_auth0 %}, auth0{% endif %}{% if cookiecutter.use_slack %}, notifier{% endif %}:
            yield {"dal": database.dal, "database": database, "shutdown": shutdown}

    app = FastAPI(
        title=about["Name"],
        version=about["Version"],
        summary=about["Summary"],
        lifespan=lifespan,
        telemetry=telemetry(),
        middleware=[  # outermost first
{%- if cookiecutter.use_slack %}
            Middleware(AlertMiddleware, notifier=notifier),
{%- endif %}
            Middleware(RequestIdMiddleware),
            Middleware(AccessLogMiddleware),
            Middleware(SecurityHeadersMiddleware),
            Middleware(CorsMiddleware, origins=settings.cors_origins),
            Middleware(TrustedHostsMiddleware, hosts=settings.trusted_hosts),
            Middleware(BodyLimitMiddleware, max_body_size=settings.max_body_size),
            Middleware(ServerErrorMiddleware),
            Middleware(HeadMiddleware),
{%- if cookiecutter.use_auth0 %}
            Middleware(AuthMiddleware, auth0=auth0),
{%- endif %}
            Middleware(TransactionMiddleware, dal=database.dal),  # commits before the first byte
        ],
        exception_handlers=problem_handlers,
        docs_url=None,  # see pages_router
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs_enabled else None,
{%- if cookiecutter.use_auth0 %}
        swagger_ui_init_oauth=auth0.docs_login,
{%- endif %}
        redirect_slashes=False,
    )
    app.include_router(health_router)
    app.include_router(pages_router(settings))
{%- if cookiecutter.use_auth0 %}
    app.include_router(me_router, prefix="/v1")
    for resource in RESOURCES:
        scope = SCOPES.get(resource, resource.__name__.rpartition(".")[2])
        read, write = f"read:{scope}", f"write:{scope}"
        include_guarded(app, resource.router, prefix="/v1", read=read, write=write)
{%- else %}
    for resource in RESOURCES:
        app.include_router(resource.router, prefix="/v1")
{%- endif %}
{%- if cookiecutter.use_slack %}
    app.include_router(slack_router(notifier{% if cookiecutter.use_auth0 %}, dependencies=[require()]{% endif %}))
{%- endif %}
    index_routes(app, compiled=settings.compiled_routes)
    document(app{% if cookiecutter.use_auth0 %}, auth0.describe{% endif %})
    return app
