"""The session of a transaction outside of requests, and what it has to do with that."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, MissingGreenlet
from sqlalchemy.orm import selectinload

from dalkit import AbortedTransaction, DataAccessLayer, DatabaseUnreachable, TransactionManager
from dalkit.data.engine import create_engine
from dalkit.data.session import JoinedSession
from dalkit.fast import wire

from tests.data.proxy import proxied
from tests.orm.models import Novel, Writer


@pytest.fixture
async def tx(shelf: DataAccessLayer) -> AsyncIterator[TransactionManager]:
    """A transaction that is rolled back."""
    async with shelf.transaction(with_commit=False) as transaction:
        yield transaction


async def names(dal: DataAccessLayer) -> list[str]:
    """The names of the writers that are committed."""
    async with dal.session() as session:
        return list(await session.scalars(select(Writer.name).order_by(Writer.id)))


async def test_a_job_commits_at_the_end_of_its_block(clean_shelf: DataAccessLayer) -> None:
    async with clean_shelf.session() as session:
        session.add(Writer(name="Lem"))
    assert await names(clean_shelf) == ["Lem"]


async def test_a_job_that_raises_is_rolled_back(clean_shelf: DataAccessLayer) -> None:
    with pytest.raises(ArithmeticError):
        async with clean_shelf.session() as session:
            session.add(Writer(name="Lem"))
            await session.flush()
            raise ArithmeticError
    assert await names(clean_shelf) == []


async def test_a_job_may_only_read(shelf: DataAccessLayer) -> None:
    with pytest.raises(DBAPIError) as raised:
        async with shelf.session(readonly=True) as session:
            session.add(Writer(name="Lem"))
    assert getattr(raised.value.orig, "sqlstate", None) == "25006"


async def test_a_job_has_its_isolation_level(shelf: DataAccessLayer) -> None:
    async with shelf.session(isolation="SERIALIZABLE", with_commit=False) as session:
        assert await session.scalar(text("SHOW transaction_isolation")) == "serializable"


async def test_a_job_may_commit_and_roll_back_in_between(clean_shelf: DataAccessLayer) -> None:
    async with clean_shelf.session() as session:
        lem = Writer(name="Lem")
        session.add(lem)
        await session.commit()
        assert await names(clean_shelf) == ["Lem"]
        lem.name = "Stanislaw"
        session.add(Writer(name="Dick"))
        await session.flush()
        await session.rollback()
        await session.refresh(lem)
        assert lem.name == "Lem"
        session.add(Writer(name="Strugatsky"))
    assert await names(clean_shelf) == ["Lem", "Strugatsky"]


async def test_a_flush_that_fails_at_commit_gives_the_connection_back(
    clean_shelf: DataAccessLayer,
) -> None:
    async with clean_shelf.session() as session:
        session.add(Writer(name="Lem"))
    with pytest.raises(IntegrityError):
        async with clean_shelf.session() as session:
            session.add(Writer(name="Lem"))
    assert clean_shelf.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_a_job_may_go_on_after_a_commit_that_failed(clean_shelf: DataAccessLayer) -> None:
    async with clean_shelf.session() as session:
        session.add_all([Writer(name="Lem"), Writer(name="Lem")])
        with pytest.raises(IntegrityError):
            await session.commit()
        session.add(Writer(name="Dick"))
    assert await names(clean_shelf) == ["Dick"]


async def test_a_failed_flush_ends_the_transaction_whoever_swallows_it(
    clean_shelf: DataAccessLayer,
) -> None:
    """SQLAlchemy's own session would have rolled back, and gone on in another transaction."""
    with pytest.raises(AbortedTransaction):
        async with clean_shelf.transaction() as tx:
            await tx.execute(sa.insert(tx.get_table("orm_writer")).values(name="before", rank=1))
            tx.session.add_all([Writer(name="Lem"), Writer(name="Lem")])
            with pytest.raises(IntegrityError):
                await tx.session.flush()
            with pytest.raises(DBAPIError):
                await tx.fetch_value(select(1))
    assert await names(clean_shelf) == []


async def test_a_savepoint_of_the_transaction_is_one_of_its_session(tx: TransactionManager) -> None:
    session = tx.session
    lem = Writer(name="Lem")
    session.add(lem)
    with pytest.raises(IntegrityError):
        async with tx.savepoint():
            lem.rank = 1
            session.add(Writer(name="Lem"))
            await session.flush()
    assert (await session.scalars(select(Writer.name))).all() == ["Lem"]
    await session.refresh(lem)
    assert lem.rank == 7


async def test_statements_of_core_see_what_is_pending(tx: TransactionManager) -> None:
    """On the compiled path, through SQLAlchemy, from a cursor and by asyncpg itself."""
    writer, count = tx.get_table("orm_writer"), sa.text("SELECT count(*) FROM orm_writer")
    tx.session.add(Writer(name="a"))
    assert await tx.fetch_value(select(func.count()).select_from(writer)) == 1
    tx.session.add(Writer(name="b"))
    assert (await tx.execute(count)).scalar_one() == 2
    tx.session.add(Writer(name="c"))
    assert [row async for row in tx.stream(count)] == [{"count": 3}]
    tx.session.add(Writer(name="d"))
    assert await (await tx.get_dbapi_connection()).fetchval(str(count)) == 4
    with tx.session.no_autoflush:
        tx.session.add(Writer(name="e"))
        assert (await tx.execute(count)).scalar_one() == 4


async def test_a_savepoint_that_was_never_left_ends_with_the_transaction(
    clean_shelf: DataAccessLayer,
) -> None:
    for with_commit in (False, True):
        async with clean_shelf.session(with_commit=with_commit) as session:
            _ = await session.begin_nested()
            session.add(Writer(name="Lem"))
            await session.flush()
    assert await names(clean_shelf) == ["Lem"]


async def test_the_session_and_the_transaction_have_one_connection(tx: TransactionManager) -> None:
    assert await tx.session.connection() is await tx.connection()


async def test_events_of_the_session_are_told_of_the_real_commit(
    clean_shelf: DataAccessLayer,
) -> None:
    """What is added before COMMIT is flushed, and after it others see it."""
    told: list[str] = []

    def before(session: JoinedSession) -> None:
        if not told:
            told.append("before")
            session.add(Writer(name="audit"))

    def after(session: JoinedSession) -> None:
        told.append(f"after, in transaction: {session.manager.used}")

    event.listen(JoinedSession, "before_commit", before)
    event.listen(JoinedSession, "after_commit", after)
    try:
        async with clean_shelf.session() as session:
            session.add(Writer(name="Lem"))
    finally:
        event.remove(JoinedSession, "before_commit", before)
        event.remove(JoinedSession, "after_commit", after)
    assert told == ["before", "after, in transaction: False"]
    assert await names(clean_shelf) == ["Lem", "audit"]


@pytest.mark.parametrize("with_commit", [False, True])
@pytest.mark.parametrize("writes", [False, True])
async def test_a_session_leaves_nothing_to_the_garbage_collector(
    clean_shelf: DataAccessLayer, with_commit: bool, writes: bool
) -> None:
    gc.collect()
    gc.disable()
    try:
        async with clean_shelf.session(with_commit=with_commit) as session:
            if writes:
                session.add(Writer(name="Lem"))
            await session.execute(select(Writer))
        gone = weakref.ref(session.sync_session)
        del session
        assert gone() is None
    finally:
        gc.enable()


async def test_a_lazy_load_says_what_to_do(tx: TransactionManager) -> None:
    session = tx.session
    session.add(Writer(name="Lem", novels=[Novel(title="Solaris", year=1961)]))
    await session.flush()
    session.expunge_all()
    lem = await Writer.get_one(session, name="Lem")
    with pytest.raises(MissingGreenlet, match="awaitable_attrs"):
        _ = lem.novels
    assert [novel.title for novel in await lem.awaitable_attrs.novels] == ["Solaris"]
    assert [novel.title for novel in lem.novels] == ["Solaris"]


async def test_rows_come_from_a_cursor(tx: TransactionManager) -> None:
    session = tx.session
    session.add_all(Writer(name=f"writer {n}") for n in range(5))
    found = await session.stream_scalars(
        select(Writer).options(selectinload(Writer.novels)).execution_options(yield_per=2)
    )
    assert len([writer.name async for writer in found]) == 5


async def test_a_transaction_of_the_callers_connection_has_a_session(
    clean_shelf: DataAccessLayer,
) -> None:
    async with clean_shelf.engine.connect() as conn:
        tx = TransactionManager(conn, clean_shelf)
        tx.session.add(Writer(name="Lem"))
        await tx.commit()
        tx.session.add(Writer(name="Dick"))
        await tx.session.flush()
        await tx.rollback()
    assert await names(clean_shelf) == ["Lem"]


async def test_a_collision_is_noticed_although_its_error_is_swallowed(
    tx: TransactionManager,
) -> None:
    collide = text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$")
    with pytest.raises(DBAPIError):
        await tx.session.execute(collide)
    assert tx.collided


@pytest.mark.parametrize("how", ["execute", "flush", "lazy", "commit"])
async def test_a_session_ends_when_the_network_is_silent(
    committed_database: str,
    clean_shelf: DataAccessLayer,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    """The client has a deadline, and the pool gets its place back."""
    monkeypatch.setattr(wire, "GRACE", 0.2)
    monkeypatch.setattr(wire, "GRACE_OF_COMMIT", 0.4)
    async with proxied(committed_database) as (proxy, url):
        engine = create_engine(url, pool_size=1, pool_timeout=1, statement_timeout=0.2)
        dal = DataAccessLayer()
        dal.use(engine)
        try:
            with pytest.raises(DatabaseUnreachable) as raised:
                async with asyncio.timeout(5), dal.session() as session:
                    writer = Writer(name="Lem")
                    session.add(writer)
                    await session.flush()
                    proxy.is_silent = True
                    if how == "execute":
                        await session.execute(select(Writer))
                    elif how == "flush":
                        session.add(Writer(name="Dick"))
                        await session.flush()
                    elif how == "lazy":
                        await writer.awaitable_attrs.novels
            assert ("COMMIT" in str(raised.value)) == (how == "commit")
            proxy.is_silent = False
            async with asyncio.timeout(5), dal.session() as session:
                assert await session.scalar(select(1)) == 1
        finally:
            await engine.dispose()
