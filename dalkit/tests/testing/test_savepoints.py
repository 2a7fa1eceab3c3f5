"""The rollback that the fixtures `transaction` and `client` stand on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from dalkit import AbortedTransaction, DataAccessLayer
from dalkit.testing.savepoints import OuterTransaction, rolled_back

from tests.web.request_path import TABLES


@pytest.fixture
async def dal(committed_database: str) -> AsyncIterator[DataAccessLayer]:
    """A database with the tables `thing` and `part`."""
    async with DataAccessLayer.connect(committed_database) as it:
        async with it.transaction() as tx:
            await (await tx.get_dbapi_connection()).execute(TABLES)
        await it.refresh()
        yield it


@pytest.fixture
async def outer(dal: DataAccessLayer) -> AsyncIterator[OuterTransaction]:
    """The transaction that everything of `dal` happens in."""
    async with rolled_back(dal) as it:
        yield it


async def add(dal: DataAccessLayer, number: int) -> None:
    """Add a thing in a transaction of its own."""
    async with dal.transaction() as tx:
        await tx.execute(sa.insert(dal.get_table("thing")).values(id=number))


async def ids(tx: OuterTransaction) -> list[int]:
    """The things."""
    return [row["id"] for row in await tx.fetch_all(sa.text("SELECT id FROM thing ORDER BY id"))]


async def test_what_the_code_commits_is_seen_inside_and_gone_after(dal: DataAccessLayer) -> None:
    async with rolled_back(dal) as outer:
        await add(dal, 1)
        assert await ids(outer) == [1]
    async with rolled_back(dal) as outer:
        assert await ids(outer) == []


async def test_a_failed_transaction_is_undone_alone(
    dal: DataAccessLayer, outer: OuterTransaction
) -> None:
    await add(dal, 1)
    with pytest.raises(IntegrityError):
        await add(dal, 1)
    await add(dal, 2)
    assert await ids(outer) == [1, 2]


async def test_a_deferred_violation_fails_its_transaction(
    dal: DataAccessLayer, outer: OuterTransaction
) -> None:
    with pytest.raises(IntegrityError):
        async with dal.transaction() as tx:
            await tx.execute(sa.insert(dal.get_table("part")).values(thing_id=404))
    assert await outer.fetch_value(sa.text("SELECT count(*) FROM part")) == 0


async def test_checking_leaves_constraints_deferred(
    dal: DataAccessLayer, outer: OuterTransaction
) -> None:
    await add(dal, 1)
    async with dal.transaction() as tx:
        await tx.execute(sa.insert(dal.get_table("part")).values(thing_id=2))
        await tx.execute(sa.insert(dal.get_table("thing")).values(id=2))
    assert await ids(outer) == [1, 2]


async def test_a_violation_left_by_the_test_itself_fails_it(dal: DataAccessLayer) -> None:
    with pytest.raises(IntegrityError):
        async with rolled_back(dal) as outer:
            await outer.execute(sa.insert(dal.get_table("part")).values(thing_id=404))


async def test_a_read_is_not_blamed_for_a_violation_of_the_test(
    dal: DataAccessLayer, outer: OuterTransaction
) -> None:
    part, count = dal.get_table("part"), sa.text("SELECT count(*) FROM part")
    await outer.execute(sa.insert(part).values(thing_id=404))
    async with dal.transaction(readonly=True) as tx:
        assert await tx.fetch_value(count) == 1
    with pytest.raises(IntegrityError):
        async with dal.transaction() as tx:
            await tx.execute(sa.delete(part).where(part.c.thing_id == 1))
    await outer.execute(sa.delete(part))


async def test_a_swallowed_error_is_found_as_commit_would_find_it(
    dal: DataAccessLayer, outer: OuterTransaction
) -> None:
    await add(dal, 1)
    with pytest.raises(AbortedTransaction):
        async with dal.transaction() as tx:
            await tx.execute(sa.insert(dal.get_table("thing")).values(id=2))
            try:
                await tx.execute(sa.insert(dal.get_table("thing")).values(id=1))
            except IntegrityError:
                pass
    assert await ids(outer) == [1]


async def test_readonly_ends_with_its_transaction(
    dal: DataAccessLayer, outer: OuterTransaction
) -> None:
    with pytest.raises(DBAPIError):
        async with dal.transaction(readonly=True) as tx:
            await tx.execute(sa.insert(dal.get_table("thing")).values(id=1))
    async with dal.transaction(readonly=True) as tx:
        assert await tx.fetch_value(sa.text("SELECT count(*) FROM thing")) == 0
    await add(dal, 2)
    assert await ids(outer) == [2]


async def test_transactions_of_several_tasks_take_turns(
    dal: DataAccessLayer, outer: OuterTransaction
) -> None:
    await asyncio.gather(*(add(dal, number) for number in range(20)))
    assert await ids(outer) == list(range(20))


async def test_a_failed_test_does_not_keep_the_next_task_waiting(
    dal: DataAccessLayer, outer: OuterTransaction
) -> None:
    with pytest.raises(DBAPIError):
        await outer.execute(sa.text("SELECT 1 / 0"))
    async with asyncio.timeout(5):
        for number in range(2):
            failed = await asyncio.gather(add(dal, number), return_exceptions=True)
            assert isinstance(failed[0], AbortedTransaction)
    await outer.rollback()


async def test_commit_keeps_and_rollback_undoes_what_the_test_did(outer: OuterTransaction) -> None:
    await outer.execute(sa.text("INSERT INTO thing VALUES (1)"))
    await outer.commit()
    await outer.execute(sa.text("INSERT INTO thing VALUES (2)"))
    await outer.rollback()
    assert await ids(outer) == [1]


async def test_a_context_ends_with_its_transaction(
    dal: DataAccessLayer, outer: OuterTransaction
) -> None:
    """A savepoint that is released leaves what set_config() has set; a COMMIT would not."""
    who = "CREATE VIEW who AS SELECT current_setting('app.user', true) AS name"
    await outer.execute(sa.text(who))
    user = sa.select(sa.table("who", sa.column("name")))  # a plain read, without BEGIN otherwise

    async def seen(**options: Any) -> Any:
        async with dal.transaction(**options) as tx:
            return await tx.fetch_value(user)

    dal.fast_path = True
    assert await seen(context={"app.user": "ada"}) == "ada"
    assert await seen() in (None, "")
    async with dal.transaction(context={"app.user": "ada"}) as tx:
        assert await tx.fetch_value(user) == "ada"
        assert await seen(context={"app.other": "x"}) in (None, "")
        assert await seen(context={"app.user": "bob"}, with_commit=False) == "bob"
        assert await seen() in (None, "")
        assert await tx.fetch_value(user) == "ada"
    assert await outer.fetch_value(user) in (None, "")
