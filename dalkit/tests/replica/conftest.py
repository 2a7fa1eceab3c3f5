"""A service with a replica."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.middleware import Middleware
from starlette.responses import Response

from dalkit import (
    DataAccessLayer,
    FreshReadTransaction,
    IdempotentTransaction,
    ReadTransaction,
    Transaction,
    TransactionMiddleware,
)
from dalkit.data import position, replica
from dalkit.data.engine import create_engine
from dalkit.web import problem_handlers

from tests.replica.servers import Pair, pair
from tests.web.apps import calling

SLEEP = "SELECT count(*), pg_sleep(30) FROM thing"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Wait long for what a server says of itself; returns a function that sets how long."""

    def wait(seconds: float) -> None:
        for module in (position, replica):
            monkeypatch.setattr(module, "PATIENCE", seconds)

    wait(30)
    return wait


@pytest.fixture(scope="module")
def lasting() -> Iterator[Pair]:
    """Two servers for tests that leave them as they are."""
    with pair() as it:
        yield it


@pytest.fixture
async def both(lasting: Pair) -> AsyncIterator[Pair]:
    """The same, with nothing in them and nothing to be waited for."""
    await lasting.primary.ask("TRUNCATE thing")
    await lasting.catch_up()
    yield lasting
    await lasting.catch_up()


@asynccontextmanager
async def using(primary: str, standby: str, **options: Any) -> AsyncIterator[DataAccessLayer]:
    """The data access layer on both."""
    async with AsyncExitStack() as stack:
        engines = [create_engine(url, pool_size=5, **options) for url in (primary, standby)]
        for engine in engines:
            stack.push_async_callback(engine.dispose)
        dal = DataAccessLayer()
        dal.use(engines[0], replica=engines[1])
        if dal.replica is not None:
            stack.push_async_callback(dal.replica.stop)
        await dal.refresh()
        yield dal


@asynccontextmanager
async def served(dal: DataAccessLayer, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application that tells which server has answered."""
    app = FastAPI(
        middleware=[Middleware(TransactionMiddleware, dal=dal, **options)],
        exception_handlers=problem_handlers,
    )

    async def found(number: int, tx: ReadTransaction) -> dict[str, bool]:
        thing = tx.get_table("thing")
        standby = await tx.fetch_value(sa.select(sa.func.pg_is_in_recovery()))
        ids = await tx.fetch_all(sa.select(thing.c.id).where(thing.c.id == number))
        return {"found": bool(ids), "standby": standby}

    @app.post("/things/{number}", status_code=201)
    async def add(number: int, tx: Transaction) -> None:
        await tx.execute(sa.insert(tx.get_table("thing")).values(id=number))

    @app.post("/orders/{number}", status_code=201)
    async def order(number: int, tx: IdempotentTransaction) -> None:
        await tx.execute(sa.insert(tx.get_table("thing")).values(id=number))

    @app.get("/things/{number}")
    @app.post("/search/{number}")
    async def read(number: int, tx: ReadTransaction) -> dict[str, bool]:
        return await found(number, tx)

    @app.get("/fresh/{number}")
    async def read_fresh(number: int, tx: FreshReadTransaction) -> dict[str, bool]:
        return await found(number, tx)

    @app.get("/sleep")
    async def sleep(tx: ReadTransaction) -> bool:
        if await tx.fetch_value(sa.select(sa.func.pg_is_in_recovery())):
            await tx.execute(sa.text(SLEEP))
            return True
        return False

    @app.post("/refused", status_code=409)
    async def refuse(tx: Transaction) -> None:
        await tx.execute(sa.insert(tx.get_table("thing")).values(id=-1))

    @app.post("/unused", status_code=204)
    async def leave_unused(tx: Transaction) -> Response:
        return Response(status_code=204)

    async with calling(app, base_url="https://things.example") as client:
        yield client


@pytest.fixture
async def dal(both: Pair) -> AsyncIterator[DataAccessLayer]:
    """On the lasting servers."""
    async with using(both.primary.url, both.standby.url) as it:
        yield it


@pytest.fixture
async def client(dal: DataAccessLayer) -> AsyncIterator[httpx.AsyncClient]:
    """Of an application on the lasting servers."""
    async with served(dal) as it:
        yield it


async def sleeping(pair: Pair) -> None:
    """Wait until the standby runs SLEEP."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%'"
    async with asyncio.timeout(20):
        while await pair.standby.ask(query) != 2:  # this question is one of them
            await asyncio.sleep(0.01)
