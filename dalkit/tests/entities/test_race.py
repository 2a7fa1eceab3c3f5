"""Concurrent calls with one key, in transactions of their own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import delete, select
from sqlalchemy.exc import DBAPIError

from dalkit import DataAccessLayer

from tests.entities.models import Author

CALLS = 200


@pytest.fixture(autouse=True)
async def _no_authors_left(lab: DataAccessLayer) -> AsyncIterator[None]:
    yield
    async with lab.transaction() as tx:
        await tx.execute(delete(tx.get_table("lab.author")))


async def get_or_create(lab: DataAccessLayer, number: int) -> tuple[int, bool]:
    """One call, and another statement in the same transaction after it."""
    async with lab.transaction() as tx:
        row, created = await Author.get_or_create(tx, name="Lem", defaults={"country": str(number)})
        assert await tx.fetch_value(select(1)) == 1
        return row.id, created


async def update_or_create(lab: DataAccessLayer, number: int) -> tuple[int, bool]:
    """One call, and another statement in the same transaction after it."""
    async with lab.transaction() as tx:
        values = {"country": "PL", "born": number}
        row, created = await Author.update_or_create(tx, name="Lem", defaults=values)
        assert row.born == number
        assert await tx.fetch_value(select(1)) == 1
        return row.id, created


@pytest.mark.parametrize("call", [get_or_create, update_or_create])
async def test_exactly_one_of_200_concurrent_calls_creates(
    lab: DataAccessLayer, call: object
) -> None:
    assert callable(call)
    answers = await asyncio.gather(*(call(lab, number) for number in range(CALLS)))
    assert Counter(created for _, created in answers) == {True: 1, False: CALLS - 1}
    assert len({key for key, _ in answers}) == 1


async def test_exactly_one_of_200_concurrent_upserts_creates(lab: DataAccessLayer) -> None:
    async def upsert(number: int) -> bool:
        async with lab.transaction() as tx:
            _, created = await Author.upsert(
                tx, name="Lem", country="PL", born=number, conflict="author_name_key"
            )
            return created

    created = await asyncio.gather(*(upsert(number) for number in range(CALLS)))
    assert sum(created) == 1


async def test_a_row_that_another_transaction_deletes_is_created_again(
    lab: DataAccessLayer,
) -> None:
    async with lab.transaction() as tx:
        first, _ = await Author.get_or_create(tx, name="Lem", defaults={"country": "PL"})
    async with lab.transaction() as deleting:
        await Author.delete(deleting, first.id)
        waiting = asyncio.create_task(get_or_create(lab, 1))
        await asyncio.sleep(0.1)
    again, created = await waiting
    assert created == (again != first.id)


async def test_at_repeatable_read_a_row_of_the_future_is_a_serialization_failure(
    lab: DataAccessLayer,
) -> None:
    """The snapshot cannot see the row that the insert conflicts with: run it again."""
    with pytest.raises(DBAPIError) as caught:
        async with lab.transaction(isolation="REPEATABLE READ") as tx:
            assert await Author.get_one(tx, name="Lem") is None
            await get_or_create(lab, 1)
            await Author.get_or_create(tx, name="Lem", defaults={"country": "PL"})
    assert getattr(caught.value.orig, "sqlstate", None) == "40001"
