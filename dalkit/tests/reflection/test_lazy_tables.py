"""Each table is built when it is first asked for, and nobody can tell."""

import gc
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from dalkit import DataAccessLayer
from dalkit.reflection.tables import TableBuilder

SCHEMAS = ["zoo", "Other"]


@pytest.fixture
async def dal(zoo_engine: AsyncEngine) -> DataAccessLayer:
    """A look at the database that nobody has asked for a table yet."""
    dal = DataAccessLayer()
    await dal.reflect(zoo_engine, schemas=SCHEMAS)
    return dal


@pytest.fixture
async def at_once(zoo_engine: AsyncEngine) -> sa.MetaData:
    """The same tables, all built at once."""
    metadata = sa.MetaData()
    await DataAccessLayer().reflect(zoo_engine, metadata, schemas=SCHEMAS)
    return metadata


def built(dal: DataAccessLayer) -> set[str]:
    """The names of the tables that are built."""
    return set(dal.reflection("The metadata").metadata_so_far.tables)


def described(table: sa.Table) -> tuple[str, set[str], set[str]]:
    """Everything about a table."""
    constraints = {f"{type(one).__name__} {one.name}" for one in table.constraints}
    indexes = {str(index.name) for index in table.indexes}
    return re.sub(" at 0x[0-9a-f]+", "", repr(table)), constraints, indexes


def test_a_table_comes_with_those_that_its_foreign_keys_lead_to(dal: DataAccessLayer) -> None:
    assert built(dal) == set()
    visitor = dal.get_table("zoo.visitor")
    assert built(dal) == {"zoo.visitor", "zoo.hen", "zoo.egg"}
    assert {key.column.table for key in visitor.foreign_keys} == {dal.get_table("zoo.hen")}
    dal.get_table("Other.thing")
    assert built(dal) == {"zoo.visitor", "zoo.hen", "zoo.egg", "Other.thing", "zoo.thing"}


def test_the_metadata_is_complete_when_it_is_looked_at(
    dal: DataAccessLayer, at_once: sa.MetaData
) -> None:
    egg = dal.get_table("zoo.egg")
    assert set(dal.metadata.tables) == set(at_once.tables)
    assert egg is dal.metadata.tables["zoo.egg"] is dal.get_table("zoo.egg")
    assert egg.metadata is dal.metadata


async def test_a_metadata_of_ones_own_is_filled_at_once(
    zoo_engine: AsyncEngine, dal: DataAccessLayer
) -> None:
    metadata = sa.MetaData()
    await dal.reflect(zoo_engine, metadata, schemas=["Other"])
    assert "Other.thing" in metadata.tables


def test_the_order_of_asking_makes_no_difference(
    dal: DataAccessLayer, at_once: sa.MetaData
) -> None:
    names = sorted(at_once.tables)
    random.Random(6).shuffle(names)
    for name in names:
        assert described(dal.get_table(name)) == described(at_once.tables[name])


def test_threads_that_ask_at_once_get_one_table(
    dal: DataAccessLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["zoo.visitor", "zoo.egg", "zoo.hen", "zoo.thing"] * 4
    build = TableBuilder.table

    def slowly(self: TableBuilder, rows: Any) -> sa.Table:
        table = build(self, rows)
        time.sleep(0.01)
        return table

    monkeypatch.setattr(TableBuilder, "table", slowly)
    with ThreadPoolExecutor(len(names)) as threads:
        tables = list(threads.map(dal.get_table, names))
    assert tables == tables[:4] * 4
    assert tables[0].foreign_keys
    assert tables[1].foreign_keys


def test_a_table_that_cannot_be_built_leaves_nothing_behind(
    dal: DataAccessLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError

    dal.get_table("zoo.thing")
    with monkeypatch.context() as broken:
        broken.setattr(TableBuilder, "add_foreign_keys", fail)
        for _ in range(2):
            with pytest.raises(MemoryError):
                dal.get_table("zoo.visitor")
            assert built(dal) == {"zoo.thing"}
    assert dal.get_table("zoo.visitor").foreign_keys


async def test_a_refresh_builds_what_was_in_use_before_it_replaces_it(
    dal: DataAccessLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    dal.get_table("zoo.hen")
    old = dal.reflection("The metadata")
    await dal.refresh()
    assert dal.reflection("The metadata") is not old
    assert built(dal) == {"zoo.hen", "zoo.egg"}
    monkeypatch.delattr(TableBuilder, "table")
    assert dal.get_table("zoo.hen") is not old.get_table("zoo.hen")


async def test_a_refresh_that_cannot_build_leaves_everything_as_it_was(
    dal: DataAccessLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hen = dal.get_table("zoo.hen")
    monkeypatch.delattr(TableBuilder, "table")
    with pytest.raises(AttributeError):
        await dal.refresh()
    assert dal.get_table("zoo.hen") is hen


@pytest.mark.parametrize("already", [True, False])
def test_an_error_in_a_table_that_nobody_asked_for_is_traced(
    dal: DataAccessLayer, already: bool
) -> None:
    """A statement that is written by hand needs no table."""
    if already:
        dal.get_table("zoo.part")
    assert dal.reflection("").constraint_columns("part_name_check", "part_2026_1", "zoo") == (
        "name",
    )
    assert dal.reflection("").constraint_columns("keyed_email", "keyed", "zoo") == ("email",)
    assert dal.unique_constraints("zoo.thing") == {"thing_pkey": ("b", "a")}
    assert built(dal) == ({"zoo.part"} if already else set())


def test_the_rows_of_the_catalog_are_dropped_with_the_last_table(dal: DataAccessLayer) -> None:
    def rows() -> set[int]:
        gc.collect()
        found = (row for row in gc.get_objects() if isinstance(row, sa.Row))
        return {id(row) for row in found if "relation" in row._fields}

    before = rows()
    assert dal.metadata.tables
    assert len(before - rows()) > 100
