"""One schema, several, part of them, and names that need care."""

import re
import warnings
from collections.abc import AsyncIterator, Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from dalkit import DataAccessLayer, UnknownTable
from dalkit.data.engine import create_engine
from dalkit.errors import UnknownSchema

A_THOUSAND = """
DO $$ BEGIN
    FOR number IN 1..1000 LOOP
        EXECUTE format(
            'CREATE TABLE many.t%s (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
             name text UNIQUE, place point, before bigint %s)',
            number, CASE WHEN number > 1 THEN 'REFERENCES many.t' || number - 1 END);
    END LOOP;
END $$
"""


@pytest.fixture
async def fresh(fresh_database: str) -> AsyncIterator[AsyncEngine]:
    """An engine of a database of this test's own."""
    engine = create_engine(fresh_database)
    yield engine
    await engine.dispose()


async def reflected(engine: AsyncEngine, **options: object) -> DataAccessLayer:
    """A dal with these options of `reflect`."""
    dal = DataAccessLayer()
    await dal.reflect(engine, **options)  # type: ignore[arg-type]
    return dal


async def test_one_name_in_two_schemas_is_two_tables(zoo: DataAccessLayer) -> None:
    assert zoo.get_table("zoo.thing").c.keys() == ["a", "b", "c"]
    assert zoo.get_table("Other.thing").c.keys() == ["id", "a", "b"]


async def test_a_composite_key_leads_into_another_schema(zoo: DataAccessLayer) -> None:
    joined = zoo.get_table("Other.thing").join(zoo.get_table("zoo.thing"))
    assert "zoo.thing.a" in str(joined)
    assert "zoo.thing.b" in str(joined)


async def test_foreign_keys_in_a_circle_are_no_obstacle(zoo: DataAccessLayer) -> None:
    hen, egg = zoo.get_table("zoo.hen"), zoo.get_table("zoo.egg")
    assert hen.c.egg_id.references(egg.c.id)
    assert egg.c.hen_id.references(hen.c.id)
    assert egg.c.parent_id.references(egg.c.id)


async def test_a_foreign_key_out_of_what_is_reflected_is_left_out(zoo: DataAccessLayer) -> None:
    """SQLAlchemy would read the other table, and those that it refers to."""
    visitor = zoo.get_table("zoo.visitor")
    assert [key.column.table.name for key in visitor.foreign_keys] == ["hen"]
    assert "outside.country" not in zoo.metadata.tables
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sa.exc.SAWarning)  # hen and egg are a circle
        assert visitor in zoo.metadata.sorted_tables
    columns = zoo.reflection("").constraint_columns("visitor_country_fkey", "visitor", "zoo")
    assert columns == ("country",)


async def test_reserved_and_odd_names_can_be_used(zoo: DataAccessLayer) -> None:
    order = zoo.get_table("zoo.Order")
    values = {"select": 1, "from": "a", 'Mixed "Case': "b", "with space": "c"}
    values |= {"percent%s": "d", "col:on": "e"}
    async with zoo.transaction(with_commit=False) as tx:
        await tx.execute(sa.insert(order).values(values))
        await tx.execute(sa.insert(zoo.get_table("zoo.order")).values(user=1))
        assert await tx.fetch_all(sa.select(order)) == [values]


async def test_a_name_with_a_dot_is_no_schema(fresh: AsyncEngine) -> None:
    async with fresh.begin() as conn:
        await conn.execute(sa.text('CREATE TABLE "a.b" (dotted integer PRIMARY KEY)'))
        await conn.execute(sa.text("CREATE SCHEMA a"))
        await conn.execute(sa.text('CREATE TABLE a.b (plain integer REFERENCES "a.b")'))
    dal = await reflected(fresh, schemas=["public", "a"])
    assert dal.get_table("a.b").c.keys() == ["plain"]
    assert dal.get_table("public.a.b").c.keys() == ["dotted"]
    async with dal.transaction() as tx:
        await tx.execute(sa.insert(dal.get_table("public.a.b")).values(dotted=1))
        await tx.execute(sa.insert(dal.get_table("a.b")).values(plain=1))


async def test_only_takes_names_qualified_names_and_functions(zoo_engine: AsyncEngine) -> None:
    both = ["zoo", "Other"]

    async def read(only: list[str] | Callable[[str], bool], schemas: list[str]) -> set[str]:
        return set((await reflected(zoo_engine, schemas=schemas, only=only)).metadata.tables)

    assert await read(["hen", "egg"], ["zoo"]) == {"zoo.hen", "zoo.egg"}
    assert await read(["thing"], both) == {"zoo.thing", "Other.thing"}
    assert await read(["Other.thing"], both) == {"Other.thing"}
    assert await read(lambda name: name.startswith("c"), ["zoo"]) == {"zoo.columns", "zoo.counted"}
    assert await read([], ["zoo"]) == set()


async def test_only_refuses_what_is_not_there(zoo_engine: AsyncEngine) -> None:
    with pytest.raises(UnknownTable, match=r"'hens'.*'zoo\.hen'"):
        await reflected(zoo_engine, schemas=["zoo"], only=["hens"])


async def test_an_unknown_schema_is_named(zoo_engine: AsyncEngine) -> None:
    with pytest.raises(UnknownSchema, match="'zo'"):
        await reflected(zoo_engine, schemas=["zo"])


async def test_an_unknown_table_names_the_near_ones_and_the_schemas(zoo: DataAccessLayer) -> None:
    for wrong in ("zoo.hem", "hen", "HEN", "other.hen"):
        with pytest.raises(UnknownTable, match=re.escape("'zoo.hen'")) as raised:
            zoo.get_table(wrong)
        assert "Reflected schemas: zoo, Other." in str(raised.value)
    with pytest.raises(UnknownTable) as raised:
        zoo.get_table("completely_different")
    assert "Did you mean" not in str(raised.value)


async def test_the_default_schema_may_be_named_or_not(db: DataAccessLayer) -> None:
    assert db.get_table("public.book") is db.get_table("book")
    assert db.unique_constraints("public.book") == db.unique_constraints(db.get_table("book"))
    with pytest.raises(UnknownTable, match=r"Did you mean 'book'\? Reflected schemas: public"):
        db.get_table("bok")


@pytest.mark.parametrize("path", ["zoo, public", '"Other", zoo', "nowhere", ""])
async def test_the_search_path_changes_nothing(
    zoo_url: str, zoo: DataAccessLayer, path: str
) -> None:
    """Only, tables of its first schema are known by their bare names, too."""
    engine = create_engine(zoo_url, connect_args={"server_settings": {"search_path": path}})
    try:
        other = await reflected(engine, schemas=["zoo", "Other"])
        for name in zoo.metadata.tables:
            table, expected = other.get_table(name), zoo.get_table(name)
            assert [repr(c.type) for c in table.c] == [repr(c.type) for c in expected.c]
            assert str(table.c).replace("zoo.", "") == str(expected.c).replace("zoo.", "")
            assert other.unique_keys(name) == zoo.unique_keys(name)
            assert len(table.foreign_keys) == len(expected.foreign_keys)
        async with other.transaction(with_commit=False) as tx:
            types = other.get_table("zoo.types")
            await tx.execute(sa.insert(types).values(id=1, mood="sad", moods=["Happy"], ci="A"))
            row = await tx.fetch_one(sa.select(types.c.mood, types.c.ci))
            assert row == {"mood": "sad", "ci": "A"}
    finally:
        await engine.dispose()


async def test_a_few_statements_read_any_number_of_schemas(fresh: AsyncEngine) -> None:
    names = [f"s{number}" for number in range(12)]
    statements: list[str] = []
    async with fresh.begin() as conn:
        for before, name in zip(["", *names], names, strict=False):
            await conn.execute(sa.text(f"CREATE SCHEMA {name}"))
            for table in ("t", "u"):
                to = f"REFERENCES {before}.{table}" if before else ""
                create = f"CREATE TABLE {name}.{table} (id integer PRIMARY KEY {to})"
                await conn.execute(sa.text(create))
    sa.event.listen(
        fresh.sync_engine, "before_cursor_execute", lambda *args: statements.append(args[2])
    )
    dal = await reflected(fresh, schemas=names)
    assert len(dal.metadata.tables) == 24
    assert len(statements) == 6


async def test_a_thousand_tables_are_read_without_a_warning(fresh: AsyncEngine) -> None:
    async with fresh.begin() as conn:
        await conn.execute(sa.text("CREATE SCHEMA many"))
        await conn.execute(sa.text(A_THOUSAND))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dal = await reflected(fresh, schemas=["many"])
        assert dal.get_table("many.t1000").metadata.tables.keys() == dal.metadata.tables.keys()
        assert len(dal.metadata.sorted_tables) == 1000
        few = await reflected(fresh, schemas=["many"], only=["t7", "t8"])
    assert dal.get_table("many.t8").c.before.references(dal.get_table("many.t7").c.id)
    assert set(few.metadata.tables) == {"many.t7", "many.t8"}
