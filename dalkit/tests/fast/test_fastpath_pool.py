"""Connections of the compiled path: nobody loses one, whatever happens in between."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from dalkit import DataAccessLayer
from dalkit.data.faults import fault_of
from dalkit.errors import DatabaseUnreachable, sqlstate_of

SIZE = 3
ONE = sa.select(sa.literal(1).label("one"))
OWNER = sa.table("owner", sa.column("id", sa.Integer))
SLEEP = sa.select(sa.func.pg_sleep(5))


@asynccontextmanager
async def observer(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that is none of the pool's."""
    conn = await asyncpg.connect(url)
    try:
        yield conn
    finally:
        await conn.close()


async def assert_whole(dal: DataAccessLayer, url: str) -> None:
    """No connection is out or in a transaction, and all can be had at once; then no more."""
    pool: Any = dal.engine.sync_engine.pool
    assert pool.checkedout() == 0
    async with observer(url) as conn:
        assert not await conn.fetchval(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
        )
    async with AsyncExitStack() as stack:
        for _ in range(SIZE):
            tx = await stack.enter_async_context(dal.transaction(with_commit=False))
            assert await tx.fetch_value(ONE) == 1
        assert pool.checkedout() == SIZE
        [places] = [one._slots for one in dal._checkouts.values()]
        assert places is not None
        assert places.locked()
    assert pool.checkedout() == 0
    assert places._value == SIZE


async def terminate_all(url: str) -> None:
    """Have the server close every connection but the one that says so."""
    async with observer(url) as conn:
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    await asyncio.sleep(0.1)


@asynccontextmanager
async def outages_forgiven() -> AsyncIterator[None]:
    """Let only those errors pass that are answered with 503, and that callers can expect."""
    try:
        yield
    except (DBAPIError, DatabaseUnreachable) as error:
        fault = fault_of(error)
        if fault is None or fault.status != 503:
            raise


async def take_and_read(dal: DataAccessLayer, number: int) -> int:
    """A transaction of one statement."""
    async with dal.transaction() as tx:
        found = await tx.fetch_value(sa.select(sa.literal(number)))
    return int(found)


async def test_more_tasks_than_connections_are_all_answered(
    paths: DataAccessLayer, paths_url: str
) -> None:
    found = await asyncio.gather(*(take_and_read(paths, number) for number in range(200)))
    assert found == list(range(200))
    await assert_whole(paths, paths_url)


async def test_tasks_of_one_transaction_take_turns(paths: DataAccessLayer, paths_url: str) -> None:
    async with paths.transaction(with_commit=False) as tx:
        add = sa.insert(OWNER).returning(OWNER.c.id)
        count = sa.select(sa.func.count()).select_from(OWNER)
        rows = await asyncio.gather(
            *(tx.fetch_value(add, {"id": number}) for number in range(9)),
            *(tx.fetch_value(sa.select(sa.literal(number))) for number in range(9)),
        )
        assert rows == [*range(9), *range(9)]
        assert await tx.fetch_value(count) == 9
    await assert_whole(paths, paths_url)


@pytest.mark.parametrize("new", [True, False], ids=["connecting", "connected"])
async def test_cancelling_at_any_point_loses_no_connection_and_no_place(
    paths: DataAccessLayer, paths_url: str, new: bool
) -> None:
    async def work() -> None:
        async with paths.transaction() as tx:
            await tx.fetch_all(ONE)
            await tx.fetch_all(sa.insert(OWNER).values(id=1).returning(OWNER.c.id))
            await tx.fetch_all(SLEEP)

    for step in range(60):
        if new and step % 4 == 0:
            await paths.engine.dispose()
        task = asyncio.create_task(work())
        await asyncio.sleep(step / (3000 if new else 12000))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with paths.transaction() as tx:
        assert await tx.fetch_all(sa.select(OWNER)) == []
    await assert_whole(paths, paths_url)


async def test_cancelling_a_commit_at_any_point_loses_nothing_either(
    paths: DataAccessLayer, paths_url: str
) -> None:
    async def work() -> None:
        async with paths.transaction() as tx:
            await tx.fetch_all(sa.select(sa.func.set_config("a.b", "c", True)))

    await work()
    for step in range(60):
        task = asyncio.create_task(work())
        for _ in range(step):
            await asyncio.sleep(0.00005)
        task.cancel()
        await asyncio.wait([task])
    await assert_whole(paths, paths_url)


@pytest.mark.parametrize("stuck", ["BEGIN", "COMMIT"])
async def test_a_connection_whose_begin_or_commit_was_cut_off_is_not_given_to_the_next(
    paths: DataAccessLayer, paths_url: str, monkeypatch: pytest.MonkeyPatch, stuck: str
) -> None:
    """Nobody knows whether the server has done it: the next would be in somebody's transaction."""
    send = asyncpg.Connection.execute

    async def send_and_wait(self: asyncpg.Connection, query: str, *args: Any, **more: Any) -> str:
        answer: str = await send(self, query, *args, **more)
        if query == stuck:
            await asyncio.sleep(60)
        return answer

    async def work() -> None:
        async with paths.transaction() as tx:
            raw = await tx.get_dbapi_connection()
            used.append(raw.get_server_pid())

    used: list[int] = []
    await work()
    monkeypatch.setattr(asyncpg.Connection, "execute", send_and_wait)
    task = asyncio.create_task(work())
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task])
    monkeypatch.undo()
    await work()
    assert used[-1] != used[0]
    await assert_whole(paths, paths_url)


async def test_cancelling_whoever_waits_for_a_connection_loses_no_place(
    paths: DataAccessLayer, paths_url: str
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(SIZE):
            tx = await stack.enter_async_context(paths.transaction())
            await tx.fetch_all(ONE)
        waiting = [asyncio.create_task(take_and_read(paths, number)) for number in range(5)]
        await asyncio.sleep(0.01)
        for task in waiting[:4]:
            task.cancel()
    assert await waiting[4] == 4
    await asyncio.wait(waiting)
    await assert_whole(paths, paths_url)


async def test_whoever_waits_too_long_gets_sqlalchemys_error(
    paths: DataAccessLayer, paths_url: str
) -> None:
    pool: Any = paths.engine.sync_engine.pool
    pool._timeout = 0.1
    async with AsyncExitStack() as stack:
        for _ in range(SIZE):
            tx = await stack.enter_async_context(paths.transaction())
            await tx.fetch_all(ONE)
        for _ in range(2):
            with pytest.raises(PoolTimeoutError, match="of 3 became free in"):
                await take_and_read(paths, 1)
    await assert_whole(paths, paths_url)


async def test_the_engine_may_be_used_directly_beside(
    paths: DataAccessLayer, paths_url: str
) -> None:
    pool: Any = paths.engine.sync_engine.pool
    pool._timeout = 0.1
    async with AsyncExitStack() as stack:
        for _ in range(SIZE):
            conn = await stack.enter_async_context(paths.engine.connect())
            assert await conn.scalar(sa.text("SELECT 1")) == 1
        for _ in range(2 * SIZE):
            with pytest.raises(PoolTimeoutError):
                await take_and_read(paths, 1)
    pool._timeout = 5

    async def directly(number: int) -> int:
        async with paths.engine.connect() as conn:
            return int(await conn.scalar(sa.select(sa.literal(number))) or 0)

    both = [(directly, take_and_read)[n % 2] for n in range(30)]
    found = await asyncio.gather(
        *(directly(n) if one is directly else take_and_read(paths, n) for n, one in enumerate(both))
    )
    assert found == list(range(30))
    await assert_whole(paths, paths_url)


async def test_connections_that_the_server_has_closed_are_replaced_without_an_error(
    paths: DataAccessLayer, paths_url: str
) -> None:
    await assert_whole(paths, paths_url)
    await terminate_all(paths_url)
    found = await asyncio.gather(*(take_and_read(paths, number) for number in range(9)))
    assert found == list(range(9))
    await terminate_all(paths_url)
    await assert_whole(paths, paths_url)


def terminate_unseen(url: str) -> None:
    """Have the server close every connection, while the event loop does not look."""
    killing = threading.Thread(target=lambda: asyncio.run(terminate_all(url)))
    killing.start()
    killing.join()


ADD = sa.insert(OWNER).values(id=1).returning(OWNER.c.id)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("turns", [0, 1, 2, 4])
@pytest.mark.parametrize(
    ("first", "statement"),
    [(True, ADD), (True, ONE), (False, ONE)],
    ids=["beginning", "reading", "going on"],
)
async def test_a_connection_that_is_being_closed_is_an_outage(
    paths: DataAccessLayer, paths_url: str, turns: int, fast: bool, first: bool, statement: Any
) -> None:
    """The server's goodbye is read in one turn of the event loop, the end of the socket later."""
    paths.fast_path = fast
    assert await take_and_read(paths, 1) == 1
    async with outages_forgiven(), paths.transaction(with_commit=False) as tx:
        if not first:
            await tx.fetch_all(sa.insert(OWNER).values(id=2).returning(OWNER.c.id))
        terminate_unseen(paths_url)
        for _ in range(turns):
            await asyncio.sleep(0)
        await tx.fetch_all(statement)
    await assert_whole(paths, paths_url)


def test_what_asyncpg_says_after_a_goodbye_is_an_outage_and_an_old_type_a_collision() -> None:
    """A route that uses asyncpg itself gets these, and so does whoever asks during the goodbye."""
    lost = fault_of(asyncpg.InternalClientError("cannot switch to state 11"))
    assert lost is not None
    assert (lost.status, lost.is_outage) == (503, True)
    stale = fault_of(asyncpg.OutdatedSchemaCacheError("unexpected number of attributes"))
    assert stale is not None
    assert (stale.status, stale.is_collision) == (503, True)


async def test_a_refused_connection_is_an_outage_whatever_the_reason(
    fresh_database: str, server_url: sa.engine.URL
) -> None:
    """SQLSTATE 55000 in a statement is a defect; here the database takes no connections."""
    name = sa.make_url(fresh_database).database
    elsewhere = server_url.set(drivername="postgresql", database="postgres")
    admin = await asyncpg.connect(elsewhere.render_as_string(hide_password=False))
    try:
        async with DataAccessLayer.connect(fresh_database) as dal:
            await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            await dal.engine.dispose()
            with pytest.raises(DatabaseUnreachable, match="refuses the connection") as caught:
                await take_and_read(dal, 1)
            await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
            assert await take_and_read(dal, 1) == 1
    finally:
        await admin.close()
    fault = fault_of(caught.value)
    assert fault is not None
    assert (fault.status, fault.is_outage) == (503, True)
    assert caught.value.__cause__ is not None
    assert sqlstate_of(caught.value.__cause__) == "55000"


async def test_a_connection_that_is_lost_while_rows_are_streamed_is_an_outage(
    paths: DataAccessLayer, paths_url: str
) -> None:
    async def stream() -> None:
        async with paths.transaction() as tx:
            numbers = sa.select(sa.func.generate_series(1, 3000).label("n"))
            async for row in tx.stream(numbers, batch_size=100):
                if row["n"] == 150:
                    await terminate_all(paths_url)

    with pytest.raises(DatabaseUnreachable, match="was lost"):
        await stream()
    await assert_whole(paths, paths_url)


@pytest.mark.parametrize(
    "statement",
    [SLEEP, sa.select(sa.func.pg_sleep(5), OWNER).with_for_update()],
    ids=["reading", "locking"],
)
async def test_a_connection_that_is_lost_in_a_statement_is_not_given_to_the_next(
    paths: DataAccessLayer, paths_url: str, statement: Any
) -> None:
    async def lose() -> None:
        async with paths.transaction() as tx:
            await tx.fetch_all(sa.insert(OWNER).values(id=1).returning(OWNER.c.id))
            await tx.fetch_all(statement)

    losing = asyncio.create_task(lose())
    await asyncio.sleep(0.2)
    await terminate_all(paths_url)
    with pytest.raises(DBAPIError) as caught:
        await losing
    assert caught.value.connection_invalidated
    await assert_whole(paths, paths_url)


async def test_the_pool_after_dispose_is_taken_from_without_a_greenlet_too(
    paths: DataAccessLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with paths.transaction() as tx:
        assert await tx.fetch_value(ONE) == 1
    await paths.engine.dispose()
    async with paths.transaction() as tx:
        assert await tx.fetch_value(ONE) == 1

    async def refuse(engine: object) -> None:
        raise AssertionError("an idle connection needs no greenlet")

    monkeypatch.setattr("sqlalchemy.ext.asyncio.AsyncEngine.raw_connection", refuse)
    async with paths.transaction() as tx:
        assert await tx.fetch_value(ONE) == 1
