"""Views, partitions, foreign tables, and types of all kinds."""

import warnings
from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.schema import CreateTable

from dalkit import DataAccessLayer
from dalkit.data.faults import fault_of
from dalkit.entities import Entity
from dalkit.errors import UnknownColumn


async def test_views_are_selectable(zoo: DataAccessLayer) -> None:
    for name in ("zoo.things", "zoo.counted"):
        assert zoo.is_view(name)
        async with zoo.transaction() as tx:
            assert await tx.fetch_all(sa.select(zoo.get_table(name))) == []
    assert not zoo.is_view("zoo.thing")
    assert zoo.unique_constraints("zoo.counted") == {"counted_a": ("a",)}


async def test_views_can_be_left_out(zoo_engine: AsyncEngine) -> None:
    dal = DataAccessLayer()
    await dal.reflect(zoo_engine, schemas=["zoo"], views=False)
    assert "zoo.thing" in dal.metadata.tables
    assert not {"zoo.things", "zoo.counted"} & set(dal.metadata.tables)


async def test_a_primary_key_is_declared_for_a_view(zoo_engine: AsyncEngine) -> None:
    class Thing(Entity, table="zoo.things"):
        a: int
        title: str

    dal = DataAccessLayer()
    await dal.reflect(zoo_engine, schemas=["zoo"], view_keys={"zoo.things": ["a"]})
    for _ in range(2):
        assert not dal.get_table("zoo.things").c.a.nullable
        async with dal.transaction(with_commit=False) as tx:
            await tx.execute(sa.insert(dal.get_table("zoo.thing")).values(a=1, b=1, c="x"))
            assert await Thing.get_by_pk(tx, 1) == Thing(a=1, title="x")
        await dal.refresh()


@pytest.mark.parametrize(
    ("view_keys", "error"),
    [
        ({"zoo.thing": ["a"]}, ValueError),
        ({"zoo.things": ["b"]}, UnknownColumn),
        ({"zoo.thungs": ["a"]}, LookupError),
    ],
)
async def test_a_wrong_view_key_is_refused(
    zoo_engine: AsyncEngine, view_keys: dict[str, list[str]], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await DataAccessLayer().reflect(zoo_engine, schemas=["zoo"], view_keys=view_keys)


async def test_partitions_are_reached_through_their_table(zoo: DataAccessLayer) -> None:
    part = zoo.get_table("zoo.part")
    assert not any(name.startswith("zoo.part_") for name in zoo.metadata.tables)
    async with zoo.transaction(with_commit=False) as tx:
        await tx.execute(sa.insert(part).values(id=1, day=date(2026, 1, 1), name="x"))
        assert len(await tx.fetch_all(sa.select(part))) == 1


async def test_a_partition_is_read_when_it_is_named(zoo_engine: AsyncEngine) -> None:
    dal = DataAccessLayer()
    await dal.reflect(zoo_engine, schemas=["zoo"], only=["part_2025", "of_part"])
    assert dal.get_table("zoo.part_2025").primary_key.columns.keys() == ["id", "day"]
    # PostgreSQL keeps a foreign key to each partition beside the one that was declared.
    assert not dal.get_table("zoo.of_part").foreign_keys


@pytest.mark.parametrize(
    ("rows", "columns"),
    [([("x", 1), ("y", 1)], ("id", "day")), ([("", 1)], ("name",))],
)
async def test_an_error_in_a_partition_is_traced_to_columns(
    zoo: DataAccessLayer, rows: list[tuple[str, int]], columns: tuple[str, ...]
) -> None:
    """PostgreSQL names the partition and the partition's own index."""
    part = zoo.get_table("zoo.part")
    values = [{"id": number, "day": date(2026, 1, 1), "name": name} for name, number in rows]
    async with zoo.transaction(with_commit=False) as tx:
        with pytest.raises(IntegrityError) as raised:
            await tx.execute(sa.insert(part).values(values))
    fault = fault_of(raised.value, zoo)
    assert fault is not None
    assert fault.columns == columns


async def test_an_index_on_an_expression_is_traced_to_columns(zoo: DataAccessLayer) -> None:
    assert zoo.reflection("").constraint_columns("keyed_email", "keyed", "zoo") == ("email",)
    assert zoo.reflection("").constraint_columns("keyed_room", "keyed", "zoo") == ("room", "during")
    assert zoo.reflection("").constraint_columns("nope", "keyed", "zoo") == ()
    assert zoo.reflection("").constraint_columns("nope", "nope") == ()


async def test_a_foreign_table_is_a_table(zoo: DataAccessLayer) -> None:
    if "zoo.far" not in zoo.metadata.tables:
        pytest.skip("only a superuser may create a foreign data wrapper")
    assert zoo.get_table("zoo.far").c.keys() == ["id", "name"]


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("ci", pg.CITEXT()),
        ("hs", pg.HSTORE()),
        ("pair", pg.DOMAIN),
        ("shorts", pg.ARRAY),
        ("x", sa.types.NullType()),
        ("ax", sa.types.NullType()),
        ("point3", sa.types.NullType()),
        ("num2", pg.NUMERIC(10, 2)),
        ("ids", pg.INTERVAL(2, "day to second")),
    ],
)
async def test_every_type_is_read(zoo: DataAccessLayer, name: str, type_: Any) -> None:
    found = zoo.get_table("zoo.types").c[name].type
    assert isinstance(found, type_) if isinstance(type_, type) else repr(found) == repr(type_)


async def test_a_domain_keeps_what_postgres_knows_of_it(zoo: DataAccessLayer) -> None:
    short = zoo.get_table("zoo.types").c.short
    assert isinstance(short.type, pg.DOMAIN)
    assert (repr(short.type.data_type), short.type.schema) == ("VARCHAR(length=5)", "zoo")
    assert (short.nullable, short.type.constraint_name) == (False, "short_check")


async def test_enums_of_one_name_in_two_schemas_are_two(zoo: DataAccessLayer) -> None:
    columns = zoo.get_table("zoo.types").c
    assert isinstance(columns.mood.type, pg.ENUM)
    assert isinstance(columns.other_mood.type, pg.ENUM)
    assert columns.mood.type.enums == ["sad", "it's ok", "Happy"]
    assert (columns.other_mood.type.enums, columns.other_mood.type.schema) == (["other"], "Other")


async def test_types_that_sqlalchemy_does_not_know_make_no_noise(
    zoo_engine: AsyncEngine,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await DataAccessLayer().reflect(zoo_engine, schemas=["zoo", "Other", "outside"])


async def test_generated_and_identity_columns_come_back(zoo: DataAccessLayer) -> None:
    table = zoo.get_table("zoo.columns")
    async with zoo.transaction(with_commit=False) as tx:
        for expected in (10, 15):
            row = await tx.fetch_one(sa.insert(table).values(mood="sad").returning(table))
            assert row is not None
            assert (row["always"], row["stored"]) == (expected, expected * 2)
            assert row.get("virtual") in (None, expected * 3)  # PostgreSQL 18 has them
            assert ("virtual" in row) is ("virtual" in table.c)


async def test_a_colon_in_an_expression_is_no_parameter(zoo: DataAccessLayer) -> None:
    create: Any = CreateTable(zoo.get_table("zoo.columns"))
    created = str(create.compile(dialect=zoo.engine.dialect))
    assert "'a:b ::c :d'::text" in created
    assert "<> ' :x'::text" in created


async def test_a_key_of_several_counters_can_be_inserted(zoo: DataAccessLayer) -> None:
    serials = zoo.get_table("zoo.serials")
    async with zoo.transaction(with_commit=False) as tx:
        result = await tx.execute(sa.insert(serials).values())
        assert result.inserted_primary_key == (1, 1, 1)
