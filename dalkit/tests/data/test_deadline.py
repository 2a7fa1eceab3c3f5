"""A connection that falls silent: nobody waits for ever, and the pool gets its place back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from asgi_lifespan import LifespanManager
from pydantic import SecretStr
from sqlalchemy import QueuePool

from dalkit import DataAccessLayer, DatabaseUnreachable, TransactionManager
from dalkit.data.engine import create_engine
from dalkit.data.faults import fault_of
from dalkit.fast import wire
from dalkit.settings import Settings

from .proxy import Proxy, proxied
from tests.web.request_path import TABLES, create_test_app

SIZE = 3
#: Seconds: the limit of a statement, what the client waits beyond it, and what a test allows.
LIMIT, GRACE, ENOUGH = 0.4, 0.4, 5.0

Use = Callable[[TransactionManager], Awaitable[Any]]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less than in production."""
    monkeypatch.setattr(wire, "GRACE", GRACE)
    monkeypatch.setattr(wire, "GRACE_OF_COMMIT", 2 * GRACE)


@pytest.fixture
async def through(committed_database: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A database with the tables `thing` and `part`, behind a proxy."""
    async with DataAccessLayer.connect(committed_database) as it, it.transaction() as tx:
        await (await tx.get_dbapi_connection()).execute(TABLES)
    async with proxied(committed_database) as both:
        yield both


@pytest.fixture(params=["compiled", "sqlalchemy"])
async def dal(
    through: tuple[Proxy, str], request: pytest.FixtureRequest
) -> AsyncIterator[DataAccessLayer]:
    """It, through the proxy, with connections in the pool that have been used."""
    engine = create_engine(
        through[1],
        pool_size=SIZE,
        pool_timeout=0.3,
        connect_timeout=ENOUGH,  # nobody connects while the network is silent
        statement_timeout=LIMIT,
    )
    dal = DataAccessLayer(fast_path=request.param == "compiled")
    await dal.reflect(engine)
    await all_work(dal)
    yield dal
    await engine.dispose()


async def all_work(dal: DataAccessLayer) -> None:
    """Use all connections of the pool at once, and give them back."""
    together = asyncio.Barrier(SIZE)

    async def work() -> None:
        async with dal.transaction() as tx:
            assert await tx.fetch_value(sa.select(sa.literal(1))) == 1
            await together.wait()

    await asyncio.wait_for(asyncio.gather(*(work() for _ in range(SIZE))), ENOUGH)
    assert isinstance(dal.engine.pool, QueuePool)
    assert dal.engine.pool.checkedout() == 0


async def plain_read(tx: TransactionManager) -> None:
    """A SELECT, which needs no BEGIN."""
    await tx.fetch_all(sa.select(tx.get_table("thing")))


async def write(tx: TransactionManager) -> None:
    """An INSERT, which begins a transaction."""
    await tx.fetch_all(sa.insert(tx.get_table("thing")).values(id=1).returning(sa.literal(1)))


async def execute(tx: TransactionManager) -> None:
    """A statement through SQLAlchemy."""
    await tx.execute(sa.text("SELECT 1"))


async def stream(tx: TransactionManager) -> None:
    """Rows of a cursor."""
    async for _ in tx.stream(sa.text("SELECT 1")):
        pass


async def driver(tx: TransactionManager) -> None:
    """A statement through asyncpg."""
    await (await tx.get_dbapi_connection()).fetch("SELECT 1")


@pytest.mark.parametrize("use", [plain_read, write, execute, stream, driver])
@pytest.mark.parametrize("begun", [False, True])
async def test_a_statement_ends_when_the_network_is_silent(
    dal: DataAccessLayer, through: tuple[Proxy, str], use: Use, begun: bool
) -> None:
    together = asyncio.Barrier(SIZE)

    async def ask() -> BaseException | None:
        try:
            async with dal.transaction() as tx:
                if begun:
                    await tx.get_dbapi_connection()
                await together.wait()
                through[0].is_silent = True
                await use(tx)
        except Exception as error:  # noqa: BLE001 - which one is asserted
            return error
        return None

    errors = await asyncio.wait_for(asyncio.gather(*(ask() for _ in range(SIZE))), ENOUGH)
    for error in errors:
        assert error is not None
        fault = fault_of(error, dal)
        assert fault is not None, error
        assert (fault.status, fault.headers) == (503, {"retry-after": "1"})
    through[0].is_silent = False
    await all_work(dal)


@pytest.mark.parametrize("use", [write, execute])
async def test_a_commit_that_is_not_answered_is_a_503_and_never_run_again(
    dal: DataAccessLayer, through: tuple[Proxy, str], use: Use
) -> None:
    tx = TransactionManager(None, dal)
    await use(tx)
    through[0].is_silent = True
    with pytest.raises(DatabaseUnreachable, match="what became of it is not known") as raised:
        await asyncio.wait_for(tx.commit(), ENOUGH)
    fault = fault_of(raised.value, dal)
    assert fault is not None
    assert (fault.status, tx.collided) == (503, False)
    through[0].is_silent = False
    await all_work(dal)


async def test_a_rollback_that_is_not_answered_raises_nothing(
    dal: DataAccessLayer, through: tuple[Proxy, str]
) -> None:
    tx = TransactionManager(None, dal)
    await write(tx)
    through[0].is_silent = True
    await asyncio.wait_for(tx.rollback(), ENOUGH)
    through[0].is_silent = False
    await all_work(dal)


@pytest.mark.parametrize("how", ["statement", "commit"])
async def test_a_connection_of_the_caller_ends_too(
    dal: DataAccessLayer, through: tuple[Proxy, str], how: str
) -> None:
    async with dal.engine.connect() as conn:
        tx = TransactionManager(conn, dal)
        await tx.execute(sa.text("SELECT 1"))
        through[0].is_silent = True
        ending = execute(tx) if how == "statement" else tx.commit()
        with pytest.raises(DatabaseUnreachable):
            await asyncio.wait_for(ending, ENOUGH)
        through[0].is_silent = False
    await all_work(dal)


async def test_the_client_waits_as_long_as_a_transaction_allows(dal: DataAccessLayer) -> None:
    sleep = sa.select(sa.func.pg_sleep(LIMIT + 2 * GRACE))
    async with dal.transaction() as tx:
        connection = await tx.get_dbapi_connection()
        before = wire.deadline(connection)
        await tx.set_statement_timeout(0)
        assert wire.deadline(connection) is None
        await tx.set_statement_timeout(5)
        await tx.fetch_all(sleep)
    assert wire.deadline(connection) == before == LIMIT + GRACE


async def test_without_a_limit_of_statements_there_is_no_deadline(
    through: tuple[Proxy, str],
) -> None:
    async with DataAccessLayer.connect(through[1]) as dal, dal.transaction() as tx:
        assert wire.deadline(await tx.get_dbapi_connection()) is None


async def test_all_requests_get_an_answer_and_later_ones_succeed(
    through: tuple[Proxy, str],
) -> None:
    proxy, url = through
    settings = Settings(
        _env_file=None,
        environment="testing",
        database_url=SecretStr(url),
        database_pool_size=SIZE,
        database_pool_timeout=ENOUGH,
        database_connect_timeout=1.0,  # which those wait who find a place while it is silent
        database_statement_timeout=LIMIT,
    )
    app = create_test_app(settings)
    async with LifespanManager(app) as manager:
        transport = httpx.ASGITransport(manager.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:

            async def statuses(first: int) -> set[tuple[int, str | None]]:
                numbers = range(first, first + 3 * SIZE)
                asked = asyncio.gather(*(client.post(f"/things/{n}") for n in numbers))
                answers = await asyncio.wait_for(asked, ENOUGH)
                return {(one.status_code, one.headers.get("retry-after")) for one in answers}

            assert await statuses(0) == {(201, None)}
            proxy.is_silent = True
            assert await statuses(100) == {(503, "1")}
            proxy.is_silent = False
            assert await statuses(200) == {(201, None)}
