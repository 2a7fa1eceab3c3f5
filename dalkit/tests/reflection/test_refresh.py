"""Reading the schema again while the service works."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from dalkit import DataAccessLayer, NotReflected, UnknownTable
from dalkit.data.engine import create_engine
from dalkit.reflection import read_reflection


@pytest.fixture
async def engine(fresh_database: str) -> AsyncIterator[AsyncEngine]:
    """An engine of a database whose schema may change."""
    engine = create_engine(fresh_database, pool_size=10)
    yield engine
    await engine.dispose()


@pytest.fixture
async def dal(engine: AsyncEngine) -> DataAccessLayer:
    """Its tables."""
    dal = DataAccessLayer()
    await dal.reflect(engine)
    return dal


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[sa.MetaData]:
    """What was read, one after the other; it is an error to read twice at a time."""
    seen: list[sa.MetaData] = []
    running = 0

    async def counted(conn: Any, metadata: sa.MetaData, **options: Any) -> Any:
        nonlocal running
        assert running == 0
        running += 1
        try:
            seen.append(metadata)
            return await read_reflection(conn, metadata, **options)
        finally:
            running -= 1

    monkeypatch.setattr("dalkit.data.dal.read_reflection", counted)
    return seen


async def ddl(engine: AsyncEngine, *statements: str) -> None:
    """Change the schema behind the back of SQLAlchemy, as `alembic upgrade` elsewhere does."""
    async with engine.begin() as conn:
        driver = (await conn.get_raw_connection()).driver_connection
        assert driver is not None
        for statement in statements:
            await driver.execute(statement)


async def test_a_refresh_sees_what_changed(dal: DataAccessLayer, engine: AsyncEngine) -> None:
    await ddl(engine, "CREATE TABLE new (id integer PRIMARY KEY)", "DROP VIEW author_with_books")
    await ddl(engine, "ALTER TABLE book ADD pages integer", "CREATE UNIQUE INDEX p ON book (pages)")
    old = dal.get_table("book")
    await dal.refresh()
    assert dal.get_table("new").c.keys() == ["id"]
    assert "pages" in dal.get_table("book").c
    assert dal.unique_constraints("book")["p"] == ("pages",)
    assert "pages" not in old.c
    with pytest.raises(UnknownTable):
        dal.get_table("author_with_books")


async def test_a_transaction_goes_on_with_the_tables_it_began_with(
    dal: DataAccessLayer, engine: AsyncEngine
) -> None:
    async with dal.transaction() as tx:
        book = tx.get_table("book")
        await ddl(engine, "CREATE TABLE new (id integer)")
        await dal.refresh()
        author = tx.get_table("author")
        await tx.fetch_all(sa.select(book.c.id).select_from(book.join(author)))
        with pytest.raises(UnknownTable):
            tx.get_table("new")
        await tx.commit()
        assert tx.get_table("new") is dal.get_table("new")


async def test_requests_meet_no_stale_statement_after_a_refresh(
    dal: DataAccessLayer, engine: AsyncEngine
) -> None:
    """asyncpg prepares statements per connection; PostgreSQL refuses them with another type."""

    async def read() -> list[dict[str, Any]]:
        async with dal.transaction(readonly=True) as tx:
            return await tx.fetch_all(sa.select(tx.get_table("author").c.name))

    await asyncio.gather(*(read() for _ in range(10)))
    await ddl(
        engine, "DROP VIEW author_with_books", "ALTER TABLE author ALTER name TYPE varchar(50)"
    )
    await dal.refresh()
    await asyncio.gather(*(read() for _ in range(20)))


async def test_transactions_and_refreshes_at_once_disturb_nobody(dal: DataAccessLayer) -> None:
    async def work(number: int) -> None:
        for turn in range(10):
            async with dal.transaction() as tx:
                author, book = tx.get_table("author"), tx.get_table("book")
                await asyncio.sleep(0)
                await tx.fetch_all(sa.select(book.c.id).select_from(book.join(author)))
                await tx.execute(sa.insert(author).values(name=f"{number}-{turn}"))

    before = dal.metadata
    await asyncio.gather(*(work(n) for n in range(8)), *(dal.refresh() for _ in range(8)))
    assert dal.metadata is not before


async def test_refreshes_that_wait_for_one_another_read_twice(
    dal: DataAccessLayer, readings: list[sa.MetaData]
) -> None:
    """The one that was under way may have begun before the change that the others know of."""
    await asyncio.gather(*(dal.refresh() for _ in range(20)))
    assert len(readings) == 2
    await dal.refresh()
    assert len(readings) == 3
    assert dal.metadata is readings[-1]


async def test_a_refresh_that_fails_leaves_everything_as_it_was(
    dal: DataAccessLayer, engine: AsyncEngine
) -> None:
    before = dal.metadata
    dal.use(engine, view_keys={"author_with_books": ["nope"]})
    for _ in range(2):
        with pytest.raises(LookupError):
            await dal.refresh()
        assert dal.metadata is before
    dal.use(engine)
    await dal.refresh()
    assert dal.metadata is not before


async def test_what_was_declared_survives_a_refresh(engine: AsyncEngine) -> None:
    metadata = sa.MetaData(naming_convention={"pk": "pk_%(table_name)s"}, info={"a": 1})
    sa.Table("author", metadata, sa.Column("id", sa.BigInteger, primary_key=True))

    @sa.event.listens_for(metadata, "column_reflect")
    def money(_inspector: Any, _table: sa.Table, column: dict[str, Any]) -> None:
        if column["name"] == "price":
            column["type"] = sa.Float()

    dal = DataAccessLayer()
    await dal.reflect(engine, metadata)
    assert dal.metadata is metadata
    for _ in range(3):
        assert isinstance(dal.get_table("book").c.price.type, sa.Float)
        assert dal.get_table("author").c.keys() == ["id"]
        assert dal.get_table("book").c.author_id.references(dal.get_table("author").c.id)
        assert (dal.metadata.info, "pk" in dal.metadata.naming_convention) == ({"a": 1}, True)
        await dal.refresh()


@pytest.mark.parametrize("only", [None, ["nope"]])
@pytest.mark.parametrize("before", [True, False])
async def test_the_collector_is_paused_and_then_as_it_was(
    engine: AsyncEngine, only: list[str] | None, before: bool
) -> None:
    enabled: list[bool] = []
    metadata = sa.MetaData()
    sa.event.listen(metadata, "column_reflect", lambda *_: enabled.append(gc.isenabled()))
    if not before:
        gc.disable()
    try:
        with suppress(UnknownTable):
            await DataAccessLayer().reflect(engine, metadata, only=only)
        assert gc.isenabled() is before
    finally:
        gc.enable()
    assert set(enabled) == ({False} if only is None else set())


async def test_nothing_is_known_before_it_is_reflected() -> None:
    dal = DataAccessLayer()
    for use in (lambda: dal.get_table("book"), lambda: dal.metadata, lambda: dal.engine):
        with pytest.raises(NotReflected, match="before the database was reflected"):
            use()
    with pytest.raises(NotReflected, match="Table 'book'"):
        dal.unique_constraints("book")
