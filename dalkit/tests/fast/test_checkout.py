"""The contract with SQLAlchemy's pool that fast/checkout.py relies on."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import PoolProxiedConnection, event, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, StaticPool

from dalkit.data.engine import create_engine
from dalkit.fast.checkout import Checkout
from dalkit.fast.lease import PoolLease


@asynccontextmanager
async def pool_of(url: str, **options: Any) -> AsyncIterator[Checkout]:
    """An engine's connections, of which one is there and idle."""
    engine = create_engine(url, **{"pool_size": 2, "pool_timeout": 1} | options)
    async with engine.connect():
        pass
    try:
        yield Checkout(engine)
    finally:
        await engine.dispose()


def pool(checkout: Checkout) -> Any:
    return checkout.engine.sync_engine.pool


async def pid(lease: PoolLease) -> int:
    """Which of the server's processes is at the other end."""
    return int(await lease.driver.fetchval("SELECT pg_backend_pid()"))


async def begun(checkout: Checkout) -> PoolLease:
    """A connection with a transaction."""
    lease = PoolLease(checkout)
    await lease.open()
    await lease.begin(isolation=None, readonly=False)
    return lease


async def pid_of_next(checkout: Checkout) -> int:
    lease = PoolLease(checkout)
    await lease.open()
    number = await pid(lease)
    await lease.commit()
    return number


async def test_an_idle_connection_leaves_the_pool_and_returns_without_a_proxy(
    engine_uri: str,
) -> None:
    async with pool_of(engine_uri) as checkout:
        taken = await checkout.take()
        assert isinstance(taken, ConnectionPoolEntry)
        assert (pool(checkout).checkedout(), pool(checkout).checkedin()) == (1, 0)
        other = await checkout.take()  # is connected now
        assert isinstance(other, PoolProxiedConnection)
        assert pool(checkout).checkedout() == 2
        checkout.put_back(taken)
        checkout.put_back(other)
        assert (pool(checkout).checkedout(), pool(checkout).checkedin()) == (0, 2)


async def test_what_was_connected_before_an_outage_is_connected_anew_and_what_came_after_is_kept(
    engine_uri: str,
) -> None:
    async with pool_of(engine_uri, pool_size=1) as checkout:
        before = await pid_of_next(checkout)
        assert await pid_of_next(checkout) == before
        checkout.forget_idle()
        after = await pid_of_next(checkout)
        assert after != before
        assert await pid_of_next(checkout) == after
        assert checkout.has_free
        taken = await checkout.take()
        assert not checkout.has_free
        checkout.forget_idle()  # while it is in use
        checkout.put_back(taken)
        assert await pid_of_next(checkout) != after


async def test_sqlalchemys_connection_is_over_the_one_that_was_taken(engine_uri: str) -> None:
    async with pool_of(engine_uri) as checkout:
        lease = await begun(checkout)
        number = await pid(lease)
        conn = await lease.connection()
        assert await conn.scalar(text("SELECT pg_backend_pid()")) == number
        assert pool(checkout).checkedout() == 1
        await lease.commit()
        gc.collect()
        assert conn.closed
        assert (pool(checkout).checkedout(), pool(checkout).checkedin()) == (0, 1)
        assert await pid_of_next(checkout) == number


async def test_whoever_invalidates_sqlalchemys_connection_closes_it(engine_uri: str) -> None:
    async with pool_of(engine_uri) as checkout:
        lease = await begun(checkout)
        number = await pid(lease)
        await (await lease.connection()).invalidate()
        await lease.rollback()
        assert pool(checkout).checkedout() == 0
        assert await pid_of_next(checkout) != number


async def test_a_connection_is_discarded_with_or_without_a_proxy(engine_uri: str) -> None:
    async with pool_of(engine_uri) as checkout:
        seen = []
        for proxied in (False, True, False):
            taken = await checkout.take()
            seen.append(driver := taken.driver_connection)
            checkout.discard(checkout.proxy(taken) if proxied else taken)
            assert driver is not None
            assert driver.is_closed()
            assert pool(checkout).checkedout() == 0
        assert len(set(map(id, seen))) == 3


@pytest.mark.parametrize("name", ["invalidate", "close"])
async def test_a_listener_that_raises_costs_no_connection_and_no_place(
    engine_uri: str, name: str
) -> None:
    async with pool_of(engine_uri, pool_size=1) as checkout:

        def fail(*given: object) -> None:
            raise ArithmeticError

        for _ in range(2):
            taken = await checkout.take()
            event.listen(checkout.engine.sync_engine, name, fail)
            with pytest.raises(ArithmeticError):
                checkout.discard(taken)
            event.remove(checkout.engine.sync_engine, name, fail)
            assert pool(checkout).checkedout() == 0


async def test_a_transaction_that_ended_meanwhile_has_no_connection(engine_uri: str) -> None:
    async with pool_of(engine_uri) as checkout:
        lease = await begun(checkout)
        await lease.rollback()
        with pytest.raises(RuntimeError, match="has ended"):
            _ = await lease.connection()


async def test_a_misspelt_isolation_level_costs_no_connection(engine_uri: str) -> None:
    async with pool_of(engine_uri) as checkout:
        lease = PoolLease(checkout)
        await lease.open()
        number = await pid(lease)
        with pytest.raises(ValueError, match="'SNAPSHOT'"):
            await lease.begin(isolation="SNAPSHOT", readonly=False)
        await lease.rollback()
        assert await pid_of_next(checkout) == number


@pytest.mark.parametrize("name", ["checkout", "checkin", "reset"])
async def test_who_listens_to_the_pool_hears_of_every_connection(
    engine_uri: str, name: str
) -> None:
    async with pool_of(engine_uri) as checkout:
        heard: list[object] = []
        event.listen(checkout.engine.sync_engine, name, lambda *given: heard.append(given[0]))
        for number in range(1, 4):
            taken = await checkout.take()
            connection = taken.dbapi_connection
            checkout.put_back(taken)
            assert heard == [connection] * number


async def test_a_connection_that_is_too_old_is_replaced(engine_uri: str) -> None:
    async with pool_of(engine_uri, pool_recycle=60) as checkout:
        before = await pid_of_next(checkout)
        assert await pid_of_next(checkout) == before
        [entry] = pool(checkout)._pool._queue._queue
        entry.starttime -= 61
        assert await pid_of_next(checkout) != before
        assert pool(checkout).checkedout() == 0


async def test_a_connection_that_is_gone_is_made_in_one_attempt(engine_uri: str) -> None:
    """What asks for a password just before connecting is asked once."""
    async with pool_of(engine_uri) as checkout:
        attempts: list[object] = []
        event.listen(checkout.engine.sync_engine, "do_connect", lambda *_: attempts.append(1))
        checkout.discard(await checkout.take())
        checkout.put_back(await checkout.take())
        assert len(attempts) == 1


@pytest.mark.parametrize("option", ["pool_pre_ping", "echo_pool"])
async def test_a_pool_that_pings_or_logs_hands_out_proxies(engine_uri: str, option: str) -> None:
    async with pool_of(engine_uri, **{option: True}) as checkout:
        taken = await checkout.take()
        assert isinstance(taken, PoolProxiedConnection)
        checkout.put_back(taken)


async def test_a_pool_that_keeps_one_connection_keeps_it(engine_uri: str) -> None:
    checkout = Checkout(create_engine(engine_uri, poolclass=StaticPool))
    numbers = {await pid_of_next(checkout) for _ in range(3)}
    assert len(numbers) == 1
    await checkout.engine.dispose()


@pytest.mark.parametrize("options", [{"poolclass": NullPool}, {"pool_size": 1, "max_overflow": 1}])
async def test_what_the_pool_does_not_keep_is_closed(
    engine_uri: str, options: dict[str, Any]
) -> None:
    """Without SQLAlchemy's greenlet, in which alone it could say goodbye to the server."""
    checkout = Checkout(create_engine(engine_uri, **options))
    both = [await checkout.take() for _ in range(2)]
    drivers = [taken.driver_connection for taken in both]
    for taken in both:
        checkout.put_back(taken)
    kept = 0 if "poolclass" in options else 1
    assert [driver.is_closed() for driver in drivers if driver] == [kept == 0, True]
    await checkout.engine.dispose()
    gc.collect()  # an unclosed connection warns, and a warning fails the test


async def test_a_connection_that_is_out_while_the_pool_is_disposed_of_is_not_of_the_next_pool(
    engine_uri: str,
) -> None:
    async with pool_of(engine_uri) as checkout:
        lease = await begun(checkout)
        number = await pid(lease)
        await checkout.engine.dispose()
        conn: AsyncConnection = await lease.connection()
        assert await conn.scalar(text("SELECT pg_backend_pid()")) == number
        driver = lease.driver
        await lease.commit()
        assert pool(checkout).checkedin() == 0
        assert await pid_of_next(checkout) != number
        await driver.close()
        gc.collect()
