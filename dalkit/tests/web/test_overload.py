"""More requests than connections: the surplus is told early, and as soon as it is over, nobody."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from dalkit import DataAccessLayer, Transaction, TransactionMiddleware
from dalkit.data.engine import create_engine
from dalkit.fast.checkout import Checkout
from dalkit.web import problem_handlers

from tests.serving import serving

#: Long, so that what is ten times shorter ends before it on any machine.
PATIENCE = 2.0
LOCK = "pg_advisory_lock(7)"


@asynccontextmanager
async def full_pool(url: str, patience: float) -> AsyncIterator[tuple[Checkout, Any]]:
    """A pool of one connection, and that connection, taken."""
    engine = create_engine(url, pool_size=1, pool_timeout=patience)
    checkout = Checkout(engine)
    taken = await checkout.take()
    try:
        yield checkout, taken
    finally:
        await engine.dispose()


async def refusal(checkout: Checkout) -> str:
    with pytest.raises(PoolTimeoutError) as caught:
        await checkout.take()
    return str(caught.value)


async def test_who_comes_when_the_queue_has_stood_for_the_timeout_waits_a_tenth_of_it(
    engine_uri: str,
) -> None:
    async with full_pool(engine_uri, 0.2) as (checkout, taken):
        assert await refusal(checkout) == "No connection of 1 became free in 0.2 seconds."
        assert await refusal(checkout) == "No connection of 1 became free in 0.02 seconds."
        checkout.put_back(taken)


async def test_a_queue_that_was_served_to_its_end_was_a_burst(
    engine_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with full_pool(engine_uri, 0.2) as (checkout, taken):
        await refusal(checkout)
        monkeypatch.setattr("dalkit.fast.checkout.PART_IN_OVERLOAD", 100)  # who waits is served
        waiting = [asyncio.create_task(checkout.take()) for _ in range(2)]
        await asyncio.sleep(0)
        checkout.put_back(taken)
        checkout.put_back(await waiting[0])
        last = await waiting[1]
        assert "0.2 seconds" in await refusal(checkout)
        checkout.put_back(last)


async def test_who_gives_up_alone_leaves_no_queue(engine_uri: str) -> None:
    async with full_pool(engine_uri, 0.2) as (checkout, taken):
        gone = asyncio.create_task(checkout.take())
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        await asyncio.sleep(0.2)  # a queue would have stood for the timeout by now
        assert "0.2 seconds" in await refusal(checkout)
        checkout.put_back(taken)


async def test_a_connection_that_is_free_ends_the_overload(engine_uri: str) -> None:
    async with full_pool(engine_uri, 0.2) as (checkout, taken):
        await refusal(checkout)
        checkout.put_back(taken)
        again = await checkout.take()
        assert "0.2 seconds" in await refusal(checkout)
        checkout.put_back(again)


async def test_who_gives_up_waiting_leaves_the_queue_as_overloaded_as_it_was(
    engine_uri: str,
) -> None:
    async with full_pool(engine_uri, 0.2) as (checkout, taken):
        await refusal(checkout)
        gone = asyncio.create_task(checkout.take())
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        assert "0.02 seconds" in await refusal(checkout)
        checkout.put_back(taken)


@asynccontextmanager
async def overloaded(url: str) -> AsyncIterator[tuple[httpx.AsyncClient, asyncpg.Connection]]:
    """A server whose pool of one connection waits for a lock that the other connection holds."""
    dal = DataAccessLayer()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = create_engine(url, pool_size=1, pool_timeout=PATIENCE)
        await dal.reflect(engine)
        yield
        await engine.dispose()

    app = FastAPI(exception_handlers=problem_handlers, lifespan=lifespan)
    app.add_middleware(TransactionMiddleware, dal=dal)

    @app.get("/locking")
    async def lock(tx: Transaction) -> None:
        await tx.execute(text(f"SELECT {LOCK}"))
        await tx.execute(text("SELECT pg_advisory_unlock_all()"))

    @app.get("/quick")
    async def quick(tx: Transaction) -> None:
        await tx.execute(text("SELECT 1"))

    @app.get("/as-long-as-the-timeout")
    async def wait() -> None:
        await asyncio.sleep(PATIENCE)

    holder = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await holder.execute(f"SELECT {LOCK}")
        async with serving(app) as base, httpx.AsyncClient(base_url=base, timeout=60) as client:
            yield client, holder
    finally:
        await holder.close()


async def test_on_the_wire_503_comes_early_and_the_service_recovers_by_itself(
    engine_uri: str,
) -> None:
    async with overloaded(engine_uri) as (client, holder):
        locking = asyncio.create_task(client.get("/locking"))
        blocked = (
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
            "WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
        )
        async with asyncio.timeout(20):
            while not await holder.fetchval(blocked):
                await asyncio.sleep(0.01)
        first = await client.get("/quick")  # waits for all of the timeout

        answers: list[str] = []

        async def ask(path: str) -> httpx.Response:
            response = await client.get(path)
            answers.append(path)
            return response

        asked = (ask("/as-long-as-the-timeout"), *(ask("/quick") for _ in range(5)))
        _, *refused = await asyncio.gather(*asked)
        assert answers == ["/quick"] * 5 + ["/as-long-as-the-timeout"]
        for response in (first, *refused):
            assert (response.status_code, response.headers["retry-after"]) == (503, "1")

        await holder.execute("SELECT pg_advisory_unlock_all()")
        assert (await locking).status_code == 200
        recovered = await asyncio.gather(*(ask("/quick") for _ in range(20)))
        assert {response.status_code for response in recovered} == {200}
