"""Transactions outside requests: dal.transaction() on a database of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from dalkit import (
    AbortedTransaction,
    DataAccessLayer,
    DatabaseUnreachable,
    TransactionManager,
    connect_or_exit,
)
from dalkit.data.engine import create_engine

from tests.web.request_path import TABLES

IDLE = sa.text(
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE state LIKE 'idle in transaction%' AND datname = current_database()"
)


@pytest.fixture
async def dal(committed_database: str) -> AsyncIterator[DataAccessLayer]:
    """A database with the tables `thing` and `part`, where COMMIT is real."""
    # asyncpg leaves a future behind when it is cancelled while it asks whether there is TLS.
    url = committed_database + "?sslmode=disable"
    async with DataAccessLayer.connect(url, pool_size=3) as it:
        async with it.transaction() as tx:
            await (await tx.get_dbapi_connection()).execute(TABLES)
        await it.refresh()
        yield it


def insert(dal: DataAccessLayer, *numbers: int) -> sa.Insert:
    """The statement that adds things."""
    return sa.insert(dal.get_table("thing")).values([{"id": number} for number in numbers])


async def ids(dal: DataAccessLayer) -> list[int]:
    """The things that another transaction sees."""
    thing = dal.get_table("thing")
    async with dal.transaction() as tx:
        rows = await tx.fetch_all(sa.select(thing.c.id).order_by(thing.c.id))
    return [row["id"] for row in rows]


@pytest.mark.parametrize("first", ["statement", "nothing"])
async def test_a_swallowed_error_is_told_on_a_connection_of_the_caller(
    dal: DataAccessLayer, first: str
) -> None:
    async with dal.engine.connect() as conn:
        if first == "statement":  # SQLAlchemy has begun before
            await conn.execute(sa.text("SELECT 1"))
        transaction = TransactionManager(conn, dal)
        await transaction.execute(insert(dal, 1))
        with pytest.raises(IntegrityError):
            await transaction.execute(insert(dal, 1))
        with pytest.raises(AbortedTransaction):
            await transaction.commit()
        await transaction.execute(insert(dal, 2))
        await transaction.commit()
        await transaction.commit()
    assert await ids(dal) == [2]


async def test_a_transaction_manager_works_on_a_connection_of_the_caller(
    dal: DataAccessLayer,
) -> None:
    async with dal.engine.connect() as conn:
        transaction = TransactionManager(conn, dal)
        await transaction.execute(insert(dal, 1))
        await transaction.commit()
        await transaction.execute(insert(dal, 2))
        await transaction.rollback()
        assert transaction.conn is conn
        assert transaction.engine is dal.engine
    assert await ids(dal) == [1]


async def test_a_transaction_commits_at_the_end_of_its_block(dal: DataAccessLayer) -> None:
    async with dal.transaction() as tx:
        await tx.execute(insert(dal, 1))
    assert await ids(dal) == [1]


async def test_an_exception_rolls_back(dal: DataAccessLayer) -> None:
    with pytest.raises(ArithmeticError):
        async with dal.transaction() as tx:
            await tx.execute(insert(dal, 1))
            raise ArithmeticError
    assert await ids(dal) == []


async def test_without_commit_nothing_stays(dal: DataAccessLayer) -> None:
    async with dal.transaction(with_commit=False) as tx:
        await tx.execute(insert(dal, 1))
    assert await ids(dal) == []


async def test_commit_and_rollback_in_the_middle_begin_anew(dal: DataAccessLayer) -> None:
    async with dal.transaction() as tx:
        await tx.execute(insert(dal, 1))
        await tx.commit()
        await tx.execute(insert(dal, 2))
        await tx.rollback()
        await tx.execute(insert(dal, 3))
    assert await ids(dal) == [1, 3]


async def test_a_savepoint_undoes_its_own_part_only(dal: DataAccessLayer) -> None:
    async with dal.transaction() as tx:
        await tx.execute(insert(dal, 1))
        with pytest.raises(IntegrityError):
            async with tx.savepoint():
                await tx.execute(insert(dal, 2))
                async with tx.savepoint():
                    await tx.execute(insert(dal, 1))
        await tx.execute(insert(dal, 3))
    assert await ids(dal) == [1, 3]


async def test_a_swallowed_error_does_not_pass_for_success(dal: DataAccessLayer) -> None:
    with pytest.raises(AbortedTransaction, match="savepoint"):
        async with dal.transaction() as tx:
            await tx.execute(insert(dal, 1))
            try:
                await tx.execute(insert(dal, 1))
            except IntegrityError:
                pass
    assert await ids(dal) == []


async def test_a_deferred_violation_is_raised_by_commit(dal: DataAccessLayer) -> None:
    with pytest.raises(IntegrityError):
        async with dal.transaction() as tx:
            await tx.execute(sa.insert(dal.get_table("part")).values(thing_id=404))
    assert await ids(dal) == []


async def sent_by(dal: DataAccessLayer, work: Callable[[TransactionManager], Any]) -> list[str]:
    """The first word of every statement that asyncpg sent for a transaction which does `work`."""
    sent: list[str] = []

    def note(query: asyncpg.connection.LoggedQuery) -> None:
        sent.append(query.query.split()[0])

    async with dal.engine.connect() as conn:  # the one that the pool will give next
        driver = (await conn.get_raw_connection()).driver_connection
        assert driver is not None
        driver.add_query_logger(note)
    async with dal.transaction() as tx:
        await work(tx)
    await asyncio.sleep(0)  # asyncpg tells its loggers a little later
    driver.remove_query_logger(note)
    return sent


def read(tx: TransactionManager) -> Any:
    """A plain read."""
    return tx.fetch_all(sa.select(tx.get_table("thing")))


def lock(tx: TransactionManager) -> Any:
    """A read that is not plain."""
    return tx.fetch_all(sa.select(tx.get_table("thing")).with_for_update())


async def read_then_write(tx: TransactionManager) -> None:
    """A plain read, and then something else."""
    await read(tx)
    await tx.fetch_all(sa.insert(tx.get_table("thing")).values(id=1).returning(sa.literal(1)))


@pytest.mark.no_pgbouncer("every transaction begins with BEGIN")
@pytest.mark.parametrize(
    ("work", "sent"),
    [
        (read, ["SELECT"]),
        (lock, ["BEGIN", "SELECT", "COMMIT"]),
        (read_then_write, ["SELECT", "BEGIN", "INSERT", "COMMIT"]),
    ],
)
async def test_a_plain_read_needs_no_begin(
    committed_database: str, dal: DataAccessLayer, work: Any, sent: list[str]
) -> None:
    async with DataAccessLayer.connect(committed_database, pool_size=1) as single:
        single.fast_path = True
        assert await sent_by(single, work) == sent


@pytest.mark.parametrize("option", ["defer_begin", "pgbouncer"])
async def test_one_switch_turns_the_late_begin_off(
    committed_database: str, dal: DataAccessLayer, option: str
) -> None:
    engine = create_engine(committed_database, pool_size=1, pgbouncer=option == "pgbouncer")
    eager = DataAccessLayer(fast_path=True, defer_begin=option != "defer_begin")
    await eager.reflect(engine)
    assert await sent_by(eager, read) == ["BEGIN", "SELECT", "COMMIT"]
    await engine.dispose()


async def test_sqlalchemys_connection_is_there_once_it_was_asked_for(dal: DataAccessLayer) -> None:
    dal.fast_path = True
    async with dal.transaction() as tx:
        await read(tx)
        with pytest.raises(RuntimeError, match="connection"):
            _ = tx.conn  # no BEGIN was sent: what it ran would be committed at once
        conn = await tx.connection()
        assert tx.conn is conn
        assert (await tx.get_dbapi_connection()).is_in_transaction()


async def test_readonly_is_enforced_by_postgres(dal: DataAccessLayer) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with dal.transaction(readonly=True) as tx:
            await tx.execute(insert(dal, 1))
    assert caught.value.orig is not None
    assert caught.value.orig.sqlstate == "25006"  # type: ignore[attr-defined]


async def test_the_isolation_level_is_the_one_asked_for(dal: DataAccessLayer) -> None:
    for level in ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"):
        async with dal.transaction(isolation=level) as tx:
            shown = await tx.fetch_value(sa.text("SHOW transaction_isolation"))
        assert shown == level.lower()
    async with dal.transaction() as tx:
        assert await tx.fetch_value(sa.text("SHOW transaction_isolation")) == "read committed"


async def test_repeatable_read_sees_one_snapshot(dal: DataAccessLayer) -> None:
    things = sa.select(dal.get_table("thing").c.id)
    async with dal.transaction(isolation="REPEATABLE READ") as tx:
        assert await tx.fetch_all(things) == []
        async with dal.transaction() as other:
            await other.execute(insert(dal, 1))
        assert await tx.fetch_all(things) == []


async def test_the_drivers_connection_is_in_the_same_transaction(dal: DataAccessLayer) -> None:
    async with dal.transaction() as tx:
        await tx.execute(insert(dal, 1))
        driver = await tx.get_dbapi_connection()
        assert await driver.fetchval("SELECT count(*) FROM thing") == 1
        await driver.execute("INSERT INTO thing VALUES (2)")
        assert await tx.fetch_value(sa.text("SELECT count(*) FROM thing")) == 2


async def test_rows_are_dicts_and_one_row_or_value_may_be_missing(dal: DataAccessLayer) -> None:
    thing = dal.get_table("thing")
    async with dal.transaction() as tx:
        await tx.execute(insert(dal, 1, 2))
        assert await tx.fetch_all(sa.select(thing).order_by(thing.c.id)) == [
            {"id": 1, "n": 0},
            {"id": 2, "n": 0},
        ]
        assert await tx.fetch_one(sa.select(thing).where(thing.c.id == 2)) == {"id": 2, "n": 0}
        assert await tx.fetch_one(sa.select(thing).where(thing.c.id == 3)) is None
        assert await tx.fetch_value(sa.select(thing.c.n).where(thing.c.id == 3)) is None


async def test_a_stream_reads_in_batches(dal: DataAccessLayer) -> None:
    async with dal.transaction(readonly=True) as tx:
        numbers = tx.stream(sa.select(sa.func.generate_series(1, 2500).label("n")), batch_size=100)
        assert [row["n"] async for row in numbers] == list(range(1, 2501))


async def test_nothing_works_after_the_end(dal: DataAccessLayer) -> None:
    async with dal.transaction() as tx:
        pass
    with pytest.raises(RuntimeError, match="over"):
        await tx.execute(insert(dal, 1))


async def test_an_unused_transaction_takes_no_connection(dal: DataAccessLayer) -> None:
    async with dal.transaction() as tx:
        assert dal.engine.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        with pytest.raises(RuntimeError, match="connection"):
            _ = tx.conn


async def test_cancelling_at_any_point_leaves_no_row_and_no_open_transaction(
    dal: DataAccessLayer,
) -> None:
    async def work() -> None:
        async with dal.transaction() as tx:
            await tx.execute(insert(dal, 1))
            await tx.execute(sa.text("SELECT pg_sleep(5)"))

    for step in range(40):
        task = asyncio.create_task(work())
        await asyncio.sleep(step / 4000)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await ids(dal) == []
    assert dal.engine.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    async with dal.transaction() as tx:
        assert await tx.fetch_value(IDLE) == 0


async def test_tasks_that_a_block_gathers_share_its_connection(dal: DataAccessLayer) -> None:
    await dal.engine.dispose()  # so that taking a connection takes a while
    things = sa.select(dal.get_table("thing"))
    async with dal.transaction() as tx:
        found = await asyncio.gather(tx.fetch_all(things), tx.fetch_all(things))
        assert list(found) == [[], []]
        await asyncio.gather(tx.execute(insert(dal, 1)), tx.execute(insert(dal, 2)))
    assert dal.engine.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert await ids(dal) == [1, 2]


async def test_a_task_that_outlives_its_transaction_takes_no_connection(
    dal: DataAccessLayer,
) -> None:
    await dal.engine.dispose()
    async with dal.transaction() as tx:
        late = asyncio.create_task(tx.execute(insert(dal, 1)))
        await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="over"):
        await late
    assert dal.engine.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert await ids(dal) == []


@pytest.mark.no_pgbouncer("every transaction begins with BEGIN")
async def test_a_read_that_outlives_its_transaction_leaves_its_connection_to_nobody(
    committed_database: str, dal: DataAccessLayer
) -> None:
    things = sa.select(dal.get_table("thing"))
    async with (
        DataAccessLayer.connect(committed_database, pool_size=1) as single,
        dal.transaction() as blocking,
    ):
        single.fast_path = True
        await blocking.execute(sa.text("LOCK TABLE thing IN ACCESS EXCLUSIVE MODE"))
        async with single.transaction() as tx:
            late = asyncio.create_task(tx.fetch_all(things))
            await asyncio.sleep(0.1)  # it needs no BEGIN, and waits for the table
        async with single.transaction() as tx:
            assert await tx.fetch_value(sa.select(sa.literal(1))) == 1
        with pytest.raises(Exception, match="closed"):
            await late


async def test_connections_that_the_server_has_closed_are_replaced_without_an_error(
    dal: DataAccessLayer, committed_database: str
) -> None:
    async with dal.transaction() as one, dal.transaction() as two:
        await asyncio.gather(one.connection(), two.connection())
    observer = await asyncpg.connect(committed_database)
    await observer.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await observer.close()
    await asyncio.sleep(0.1)
    async with dal.transaction() as tx:
        await tx.execute(insert(dal, 1))
    assert await ids(dal) == [1]


async def test_a_command_without_a_database_ends_with_one_sentence() -> None:
    for url, sentence in {
        "postgresql://u:p@127.0.0.1:1,127.0.0.1:2/none": "127.0.0.1:1,127.0.0.1:2/none cannot be",
        "mysql://u:p@host/none": "this service needs PostgreSQL",
    }.items():
        with pytest.raises(SystemExit, match=sentence) as caught:
            async with connect_or_exit(url):
                pass
        assert "\n" not in str(caught.value)


async def test_a_transaction_alias_hides_that_of_the_dal_for_this_transaction(
    dal: DataAccessLayer,
) -> None:
    dal.set_aliased("other", "of the dal")
    async with dal.transaction() as tx:
        assert tx.get_aliased("other") == "of the dal"
        tx.set_aliased("other", "of the transaction")
        assert tx.get_aliased("other") == "of the transaction"
        with pytest.raises(LookupError, match="'nobody'"):
            tx.get_aliased("nobody")
    assert dal.get_aliased("other") == "of the dal"


async def test_a_server_that_is_not_there_is_an_oserror() -> None:
    dal = DataAccessLayer()
    with pytest.raises(ConnectionRefusedError):
        async with DataAccessLayer.connect("postgresql://u:p@127.0.0.1:1/none"):
            pass
    dal.use(create_engine("postgresql://u:p@127.0.0.1:1/none"))
    with pytest.raises(DatabaseUnreachable):
        async with dal.transaction() as tx:
            await tx.execute(sa.text("SELECT 1"))


async def test_behind_pgbouncer_each_transaction_sets_its_limits(
    committed_database: str,
) -> None:
    options: dict[str, Any] = {"pgbouncer": True, "statement_timeout": 7.0}
    async with DataAccessLayer.connect(committed_database, **options) as dal:
        async with dal.transaction() as tx:
            await tx.fetch_all(sa.select(tx.get_table("author")))
            assert await tx.fetch_value(sa.text("SHOW statement_timeout")) == "7s"
        async with dal.transaction() as tx:
            await tx.execute(sa.insert(tx.get_table("author")).values(name="PgBouncer"))
        async with dal.transaction() as tx:
            author = tx.get_table("author")
            deleted = await tx.execute(sa.delete(author).where(author.c.name == "PgBouncer"))
        assert deleted.rowcount == 1
