"""Rows of a cursor on the compiled path."""

from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from dalkit import DataAccessLayer
from dalkit.entities.insert_many import insert_many
from dalkit.errors import sqlstate_of

from tests.fast.both_paths import described, path, shape, undone


async def test_a_stream_gives_what_a_fetch_gives(paths: DataAccessLayer) -> None:
    """In the values' types, too, and whatever the number of rows is that are read at a time."""
    example = [{"id": n, "n": n, "tz": None, "mood": "sad", "ai": [n]} for n in range(5)]
    async with undone(paths, fast=True) as tx:
        table = tx.get_table("every_type")
        await insert_many(tx, table, example, None)
        statement = sa.select(table).order_by(table.c.id)
        expected = shape(await tx.fetch_all(statement))
        for size in (1, 2, 5, 6):
            for paths.fast_path in (True, False):
                streamed = [row async for row in tx.stream(statement, batch_size=size)]
                assert shape(streamed) == expected


async def test_a_stream_needs_no_connection_of_sqlalchemys(paths: DataAccessLayer) -> None:
    async with paths.transaction() as tx:
        assert [row async for row in tx.stream(sa.select(sa.literal(1).label("n")))] == [{"n": 1}]
        assert tx.made_connection is None
        assert [row async for row in tx.stream(sa.text("SELECT 1 AS n"))] == [{"n": 1}]
        assert tx.made_connection is not None


async def test_a_stream_may_be_left_and_others_go_on(paths: DataAccessLayer) -> None:
    numbers = sa.select(sa.func.generate_series(1, 10).label("n"))
    async with paths.transaction() as tx:
        first = tx.stream(numbers, batch_size=3)
        assert [(await anext(first))["n"] for _ in range(4)] == [1, 2, 3, 4]
        assert [row["n"] async for row in tx.stream(numbers, batch_size=4)] == [*range(1, 11)]
        assert await tx.fetch_value(sa.select(sa.literal(1))) == 1
        assert [row["n"] async for row in first] == [5, 6, 7, 8, 9, 10]


async def failure(dal: DataAccessLayer, statement: sa.Executable, *, fast: bool) -> Exception:
    """What streaming the statement raises."""
    with path(dal, fast=fast), pytest.raises((DBAPIError, asyncpg.PostgresError)) as caught:
        async with dal.transaction() as tx:
            async for _ in tx.stream(statement, batch_size=2):
                pass
    error: Exception = caught.value
    return error


async def test_an_error_of_the_statement_is_the_same_on_both_paths(paths: DataAccessLayer) -> None:
    statement: sa.Select[Any] = sa.select(sa.column("nothing"))
    slow, fast = [await failure(paths, statement, fast=fast) for fast in (False, True)]
    assert described(fast) == described(slow)


async def test_an_error_of_a_later_row_is_sqlalchemys(paths: DataAccessLayer) -> None:
    """SQLAlchemy itself lets the driver's error through there."""
    numbers = sa.func.generate_series(1, 9).column_valued("n")
    statement = sa.select(sa.literal(1) / (numbers - 7))
    slow, fast = [await failure(paths, statement, fast=fast) for fast in (False, True)]
    assert isinstance(fast, DBAPIError)
    assert sqlstate_of(fast) == sqlstate_of(slow) == "22012"


@pytest.mark.parametrize("fast", [True, False])
async def test_a_stream_ends_with_its_transaction(paths: DataAccessLayer, fast: bool) -> None:
    """Its connection may be another transaction's by then, which must not notice."""
    numbers = sa.select(sa.func.generate_series(1, 10).label("n"))
    with path(paths, fast=fast):
        async with paths.transaction() as tx:
            rows = tx.stream(numbers, batch_size=2)
            assert (await anext(rows))["n"] == 1
        async with paths.transaction() as other:
            with pytest.raises(RuntimeError, match="This transaction is over"):
                _ = [row async for row in rows]
            assert await other.fetch_value(sa.select(sa.literal(1))) == 1


async def test_a_plan_that_is_of_no_use_any_more_loses_no_rows(paths: DataAccessLayer) -> None:
    """Whoever runs the statement meanwhile may learn that its columns have changed."""
    numbers = sa.select(sa.func.generate_series(1, 10).label("n"))
    with path(paths, fast=True):
        async with paths.transaction() as tx:
            rows = tx.stream(numbers, batch_size=2)
            assert [(await anext(rows))["n"] for _ in range(2)] == [1, 2]
            call = paths.compiled(numbers, None)
            assert call is not None
            call.plan.is_usable = False
            with pytest.raises(DBAPIError, match="columns have changed"):
                await anext(rows)
