"""Tables for the models of tests/orm/models.py, and a service that uses them."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from dalkit import DataAccessLayer
from dalkit.data.engine import create_engine
from dalkit.settings import Settings


@pytest.fixture(scope="session")
async def shelf(committed_database: str) -> AsyncIterator[DataAccessLayer]:
    """The tables of the models."""
    from dalkit.orm import Base

    from tests.orm.models import MODELS

    engine = create_engine(committed_database, pool_size=20)
    tables: Any = [model.__table__ for model in MODELS]
    async with engine.begin() as conn:
        await conn.run_sync(Base.metadata.create_all, tables=tables)
    dal = DataAccessLayer()
    await dal.reflect(engine)
    yield dal
    async with engine.begin() as conn:
        await conn.run_sync(Base.metadata.drop_all, tables=tables)
    await engine.dispose()


@pytest.fixture
async def clean_shelf(shelf: DataAccessLayer) -> AsyncIterator[DataAccessLayer]:
    """The same, for a test that commits."""
    yield shelf
    async with shelf.engine.begin() as conn:
        await conn.exec_driver_sql("TRUNCATE orm_writer, orm_novel, orm_seat, orm_animal, orm_dog")


@pytest.fixture
def orm_app(clean_shelf: DataAccessLayer, settings: Settings) -> FastAPI:
    """The service of the tests with the routes of tests/orm/models.py."""
    from tests.orm.models import routes
    from tests.service.app import create_app

    app = create_app(settings, clean_shelf)
    app.state.seen, app.state.sessions = [], []
    app.include_router(routes)
    return app


@pytest.fixture
async def orm_client(orm_app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of it; requests commit."""
    async with LifespanManager(orm_app) as manager:
        transport = httpx.ASGITransport(manager.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            yield client
