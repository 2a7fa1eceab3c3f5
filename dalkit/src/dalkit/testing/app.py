"""The application of a test: fixtures in the order in which they build on each other."""

from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import ASGIApp

from ..data.dal import DataAccessLayer
from ..data.engine import dumps
from ..data.transaction import TransactionManager
from ..settings import Settings
from .databases import forget_variables
from .savepoints import rolled_back


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One event loop for the whole session, as the connections of `db` belong to it.

    It is the one that uvicorn uses: uvloop, where that is installed.
    """
    return "asyncio", {"use_uvloop": find_spec("uvloop") is not None}


@pytest.fixture(scope="session")
def engine_uri(test_database: str) -> str:
    """The database of this session: created, migrated and dropped by dalkit.testing.databases."""
    return test_database


@pytest.fixture(scope="session")
def engine_json_serializer() -> Callable[[Any], str]:
    """What writes json columns."""
    return dumps


@pytest.fixture(scope="session")
def engine_echo() -> bool:
    """Whether every statement is logged."""
    return False


@pytest.fixture(scope="session")
def engine_extra_kwargs() -> dict[str, Any]:
    """Further arguments of `create_engine`."""
    return {}


@pytest.fixture(scope="session")
def settings_class() -> type[Settings]:
    """The service's settings; override it in conftest.py."""
    return Settings


@pytest.fixture(scope="session", autouse=True)
def forgotten_variables(settings_class: type[Settings]) -> None:
    """The developer's own values of the service's settings are not those of the tests."""
    forget_variables(settings_class)


@pytest.fixture(scope="session")
def settings(settings_class: type[Settings], engine_uri: str) -> Settings:
    """The settings of a test, from the environment but not from `.env`."""
    return settings_class(_env_file=None, environment="testing", database_url=engine_uri)


@pytest.fixture(scope="session")
async def db(
    engine_uri: str,
    settings: Settings,
    engine_json_serializer: Callable[[Any], str],
    engine_echo: bool,
    engine_extra_kwargs: dict[str, Any],
) -> AsyncIterator[DataAccessLayer]:
    """The reflected tables, of the schemas that the settings name."""
    options: Any = {"json_serializer": engine_json_serializer, "echo": engine_echo}
    options |= {"schemas": settings.database_schemas or None}
    async with DataAccessLayer.connect(engine_uri, **options | engine_extra_kwargs) as dal:
        yield dal


@pytest.fixture(scope="session")
def create_app() -> Callable[..., FastAPI]:
    """The service's `create_app(settings, dal)`; conftest.py has to override it."""
    raise pytest.UsageError(
        "No application: write a session fixture `create_app` in conftest.py that returns your own."
    )


@pytest.fixture(scope="session")
def app(create_app: Callable[..., FastAPI], settings: Settings, db: DataAccessLayer) -> FastAPI:
    """The application on `db`."""
    return create_app(settings, dal=db)


@pytest.fixture(scope="session")
async def running_app(app: FastAPI) -> AsyncIterator[ASGIApp]:
    """The application between its startup and its shutdown."""
    # The token of `client` has the scopes that the document names. Of many routes it takes seconds,
    # in which nothing that starts with the application, such as fetching keys, could go on.
    app.openapi()
    async with LifespanManager(app) as manager:
        yield manager.app


@pytest.fixture
async def transaction(db: DataAccessLayer) -> AsyncIterator[TransactionManager]:
    """The transaction that a test runs in; a violation left in it fails the test."""
    async with rolled_back(db) as outer:
        yield outer


@pytest.fixture
def session(transaction: TransactionManager) -> AsyncSession:
    """The ORM's session of `transaction`: what a test commits is rolled back with it."""
    return transaction.session


@pytest.fixture
def client(running_app: ASGIApp, transaction: TransactionManager) -> httpx.AsyncClient:
    """A client of the application whose requests are savepoints of `transaction`."""
    return client_of(running_app)


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    """Return a client that calls `app`: there is no connection to close."""
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://testserver", trust_env=False)
