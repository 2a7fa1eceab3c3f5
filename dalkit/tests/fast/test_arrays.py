"""Rows that travel as one array for each column are stored as rows that travel alone."""

from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError, ResourceClosedError

from dalkit import DataAccessLayer, TransactionManager
from dalkit.data.statements import insert_row, value_params
from dalkit.entities.insert_many import insert_many
from dalkit.errors import sqlstate_of
from dalkit.fast import arrays
from dalkit.fast.arrays import FlatArray

from tests.fast.both_paths import undone
from tests.fast.test_fastpath_types import VALUES

Rows = list[dict[str, Any]]
COLUMNS = st.fixed_dictionaries(
    {name: st.lists(st.none() | one, min_size=3, max_size=3) for name, one in VALUES.items()}
)


class Key(BaseModel):
    """What is returned of a row."""

    id: int


async def stored(tx: TransactionManager) -> list[str]:
    """All rows as PostgreSQL writes them."""
    driver = await tx.get_dbapi_connection()
    rows = await driver.fetch("SELECT every_type::text AS row FROM every_type ORDER BY id")
    return [row["row"] for row in rows]


async def together(dal: DataAccessLayer, rows: Rows, *, fast: bool = True) -> list[str]:
    """What insert_many stores."""
    async with undone(dal, fast=fast) as tx:
        keys = await insert_many(tx, tx.get_table("every_type"), rows, Key)
        assert keys == [{"id": row["id"]} for row in rows]
        return await stored(tx)


async def one_by_one(dal: DataAccessLayer, rows: Rows) -> list[str]:
    """What as many INSERTs store."""
    async with undone(dal, fast=True) as tx:
        for row in rows:
            statement = insert_row(tx.get_table("every_type"), Key, tuple(row))
            await tx.fetch_all(statement, value_params(row))
        return await stored(tx)


@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(columns=COLUMNS)
async def test_a_value_of_any_type_is_stored_as_when_it_travels_alone(
    lasting_paths: DataAccessLayer, columns: dict[str, list[Any]]
) -> None:
    """Once without the arrays, with which rows go another way."""
    table = lasting_paths.get_table("every_type")
    flat = {k: values for k, values in columns.items() if not isinstance(table.c[k].type, sa.ARRAY)}
    for some in (flat, columns):
        named = [dict(zip(some, row, strict=True)) for row in zip(*some.values(), strict=True)]
        rows = [{"id": number, **row} for number, row in enumerate(named)]
        expected = await one_by_one(lasting_paths, rows)
        assert await together(lasting_paths, rows) == expected
        assert await together(lasting_paths, rows, fast=False) == expected


@pytest.mark.parametrize("array", [False, True])
@pytest.mark.parametrize("column", ["j", "jb"])
async def test_none_is_null_and_not_the_null_of_json(
    paths: DataAccessLayer, column: str, array: bool
) -> None:
    rows: Rows = [{"id": 1, column: None}, {"id": 2, column: [None]}]
    if array:
        rows = [{**row, "ai": [1]} for row in rows]
    async with undone(paths, fast=True) as tx:
        table = tx.get_table("every_type")
        await insert_many(tx, table, rows, None)
        is_null = table.c[column].is_(None).label("null")
        found = await tx.fetch_all(sa.select(is_null).order_by(table.c.id))
    assert [row["null"] for row in found] == [True, False]


async def test_this_version_of_asyncpg_walks_twice(paths: DataAccessLayer) -> None:
    """When this is red, `TRIED` is not to have the version; when it is green, it may."""
    assert asyncpg.__version__.startswith(arrays.TRIED)
    async with undone(paths, fast=True) as tx:
        driver = await tx.get_dbapi_connection()
        values = arrays._Values([1, None, 3])
        for walks in (2, 4):  # a statement may be sent again
            assert await driver.fetchval("SELECT $1::int[]", values) == [1, None, 3]
            assert values._walks == walks
        assert await driver.fetchval("SELECT 1") == 1


async def test_a_walk_that_ends_early_is_refused_by_postgres(paths: DataAccessLayer) -> None:
    """What an asyncpg would get that walks in another way than is known."""

    class Shorter(list[int]):
        def __iter__(self) -> Any:
            return iter(())

    async with undone(paths, fast=True) as tx:
        driver = await tx.get_dbapi_connection()
        with pytest.raises(asyncpg.ProtocolViolationError, match="insufficient data"):
            await driver.fetchval("SELECT $1::int[]", Shorter([1, 2]))


async def test_an_unknown_version_of_asyncpg_gets_lists(
    paths: DataAccessLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncpg, "__version__", "1.0.0")
    processor = FlatArray(sa.Integer()).bind_processor(paths.engine.dialect)
    assert type(processor([1, 2])) is list


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("wrong", ["x", [1], 2**40])
async def test_an_error_tells_which_value_is_wrong(
    paths: DataAccessLayer, fast: bool, wrong: object
) -> None:
    rows: Rows = [{"id": 1, "i4": 1}, {"id": 2, "i4": wrong}]
    async with undone(paths, fast=fast) as tx:
        with pytest.raises(DBAPIError, match=r"invalid array element at index 1|out of .*range"):
            await insert_many(tx, tx.get_table("every_type"), rows, Key)


@pytest.mark.parametrize("fast", [False, True])
async def test_a_statement_that_returns_nothing_is_run(paths: DataAccessLayer, fast: bool) -> None:
    """On the compiled path where it can be; a fetch of it is refused as SQLAlchemy does."""
    async with undone(paths, fast=fast) as tx:
        table = tx.get_table("every_type")
        rows: Rows = [{"id": 1, "i4": 1}, {"id": 2, "i4": 2}]
        assert await insert_many(tx, table, rows, None) == 2
        change = sa.update(table).values(i4=sa.bindparam("to"))
        await tx.run(change, {"to": 7})
        assert (tx.made_connection is None) is fast
        numbers = await tx.fetch_all(sa.select(table.c.i4))
        assert numbers == [{"i4": 7}, {"i4": 7}]
        with pytest.raises(ResourceClosedError):
            await tx.fetch_all(change, {"to": 8})
        with pytest.raises(DBAPIError) as caught:
            await tx.run(sa.insert(table).values(id=1))
        assert sqlstate_of(caught.value) == "23505"
