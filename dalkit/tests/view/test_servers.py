"""A view of several servers: of a replica that goes away, and of one that is recovering."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from sqlalchemy import text

from dalkit.view import Mode, View, ViewObject

from tests.replica.conftest import using
from tests.replica.servers import Pair, pair


class Thing(ViewObject, table="thing"):
    """What the servers have."""

    id: int
    n: int


class Things(View):
    """Of one class."""

    Thing = Thing


@pytest.fixture(scope="module")
def servers() -> Iterator[Pair]:
    """A primary and a standby."""
    with pair() as it:
        yield it


@pytest.fixture
async def both(servers: Pair) -> AsyncIterator[Pair]:
    """The same with one thing; the standby runs again afterwards."""
    await servers.primary.ask("TRUNCATE thing")
    await servers.primary.ask("INSERT INTO thing VALUES (1, 1)")
    await servers.catch_up()
    yield servers
    servers.standby.stop(signal.SIGQUIT)
    servers.standby.start()
    await servers.catch_up()


@pytest.mark.slow
async def test_a_replica_is_read_and_the_primary_when_it_is_gone(both: Pair) -> None:
    async with using(both.primary.url, both.standby.url) as dal, Things(dal) as view:
        thing = await view.Thing(1)
        await both.stand_still()
        await both.primary.ask("UPDATE thing SET n = 2")
        await view.refresh(thing)
        assert thing.n == 1
        both.standby.stop(signal.SIGQUIT)
        counts = await view.refresh_all()  # on a connection that was lost while it was idle
        assert (counts.changed, counts.failed, thing.n) == (1, 0, 2)
        await both.primary.ask("UPDATE thing SET n = 3")
        await view.refresh(thing)
        assert thing.n == 3


SLEEP = text(
    "SELECT id, n + 1 AS n FROM thing, "
    "pg_sleep(CASE WHEN pg_is_in_recovery() THEN 60 ELSE 0 END) AS slept"
)


@pytest.mark.slow
async def test_what_the_replica_does_not_answer_any_more_the_primary_is_asked(both: Pair) -> None:
    async with using(both.primary.url, both.standby.url) as dal, Things(dal) as view:
        waiting = asyncio.ensure_future(view.fetch(SLEEP, Thing))
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        async with asyncio.timeout(20):
            while not await both.standby.ask(query):
                await asyncio.sleep(0.01)
        both.standby.stop(signal.SIGQUIT)
        assert [one.n for one in await asyncio.wait_for(waiting, 20)] == [2]


@pytest.mark.slow
async def test_a_slow_statement_says_nothing_of_the_replica(both: Pair) -> None:
    async with (
        using(both.primary.url, both.standby.url) as dal,
        Things(dal, timeout=0.5) as view,
    ):
        with pytest.raises(TimeoutError):
            await view.fetch(SLEEP, Thing)  # at once, had the primary been asked
        lease = await dal.replica_lease(None)
        assert lease is not None
        await lease.rollback()


@pytest.mark.slow
async def test_fallback_uses_the_cache_while_the_origin_recovers(both: Pair, file: str) -> None:
    async with Things(both.primary.url, cache=file) as view:
        await view.Thing(1)
    both.standby.stop(signal.SIGQUIT)
    both.standby.launch(hot_standby="off")
    async with asyncio.timeout(20):
        while not await refuses_as_it_recovers(both.standby.url):
            await asyncio.sleep(0.01)
    url, mode = both.standby.url, Mode.FALLBACK
    async with Things(url, cache=file, mode=mode, retry_after=0.2) as view:
        thing = await view.Thing(1)
        assert (thing.n, view.age(thing).source, view.age(thing).is_stale) == (1, "cache", True)
        await both.primary.ask("UPDATE thing SET n = 2")
        both.standby.stop(signal.SIGQUIT)
        both.standby.start()
        await both.catch_up()
        async with asyncio.timeout(20):
            while view.age(await view.Thing(1)).is_stale:
                await asyncio.sleep(0.05)
        assert (thing.n, view.age(thing).source) == (2, "origin")


async def refuses_as_it_recovers(url: str) -> bool:
    """Whether the server answers with SQLSTATE 57P03, cannot_connect_now."""
    try:
        conn = await asyncpg.connect(url)
    except asyncpg.CannotConnectNowError:
        return True
    except OSError:
        return False
    await conn.close()
    return False
