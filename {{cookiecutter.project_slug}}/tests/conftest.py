"""Fixtures in the order in which they build on each other; each of them can be overridden."""

import os
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from starlette.types import ASGIApp

from {{ cookiecutter.__package_name }}.app import create_app
from {{ cookiecutter.__package_name }}.db import DataAccessLayer, TransactionManager
from {{ cookiecutter.__package_name }}.db.encoding import dumps
from {{ cookiecutter.__package_name }}.db.savepoints import rolled_back
from {{ cookiecutter.__package_name }}.settings import Settings

# A folder's fixtures.py is a plugin: an optional feature brings its own fixtures with it.
pytest_plugins = [
    f"tests.{file.parent.name}.fixtures"
    for file in sorted(Path(__file__).parent.glob("*/fixtures.py"))
]


#: `DATABASE_FAST_PATH=false make test` is for tests/database/fixtures.py and started servers.
KEPT = {"database_fast_path"}


def pytest_configure() -> None:
    """Forget the developer's own settings; the fixtures make the ones of a test."""
    for name in Settings.model_fields.keys() - KEPT:
        os.environ.pop(name.upper(), None)


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One event loop for the whole session, as the connections of `db` belong to it.

    It is the one that uvicorn uses: uvloop, where that is installed.
    """
    return "asyncio", {"use_uvloop": find_spec("uvloop") is not None}


@pytest.fixture(scope="session")
def engine_uri(test_database: str) -> str:
    """The database of this session: created, migrated and dropped by tests/database/fixtures.py."""
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
async def db(
    engine_uri: str,
    engine_json_serializer: Callable[[Any], str],
    engine_echo: bool,
    engine_extra_kwargs: dict[str, Any],
) -> AsyncIterator[DataAccessLayer]:
    """The reflected tables."""
    options: dict[str, Any] = {
        "json_serializer": engine_json_serializer,
        "echo": engine_echo,
    } | engine_extra_kwargs
    async with DataAccessLayer.connect(engine_uri, **options) as dal:
        yield dal


@pytest.fixture(scope="session")
def settings(engine_uri: str) -> Settings:
    """The settings of a test, from the environment but not from `.env`."""
    return Settings(_env_file=None, environment="testing", database_url=engine_uri)


@pytest.fixture(scope="session")
def app(settings: Settings, db: DataAccessLayer) -> FastAPI:
    """The application on `db`."""
    return create_app(settings, dal=db)


@pytest.fixture(scope="session")
async def running_app(app: FastAPI) -> AsyncIterator[ASGIApp]:
    """The application between its startup and its shutdown."""
    async with LifespanManager(app) as manager:
        yield manager.app


@pytest.fixture
async def transaction(db: DataAccessLayer) -> AsyncIterator[TransactionManager]:
    """The transaction that a test runs in; a violation left in it fails the test."""
    async with rolled_back(db) as outer:
        yield outer


@pytest.fixture
async def client(
    running_app: ASGIApp, transaction: TransactionManager
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application whose requests are savepoints of `transaction`."""
    transport = httpx.ASGITransport(running_app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://testserver", trust_env=False
    ) as it:
        yield it
