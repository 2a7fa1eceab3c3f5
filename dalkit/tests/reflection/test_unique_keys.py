"""Unique keys of every kind, and which of them ON CONFLICT takes."""

from typing import Any

import asyncpg
import pytest

from dalkit import DataAccessLayer
from dalkit.entities import Entity

REFUSED = {
    "keyed_slow": "deferrable",
    "keyed_temporal": "WITHOUT OVERLAPS",
    "keyed_room": "exclusion constraint",
    "keyed_broken": "not valid",
}
ACCEPTED = ["keyed_pkey", "keyed_code", "keyed_included", "keyed_email", "keyed_mixed"]
ACCEPTED += ["keyed_live", "keyed_lower_live", "keyed_maybe"]
#: What a row needs to be in conflict with the row of these values.
ROW = {"id": 1, "code": "c", "slow": 1, "email": "A@b", "lang": "l", "live": True}
ROW |= {"extra": 9, "mood": "sad"}


class Keyed(Entity, table="zoo.keyed"):
    """A row of a table with keys of every kind."""

    id: int
    email: str | None


@pytest.fixture(scope="session")
def is_18(zoo: DataAccessLayer) -> bool:
    """Whether this is PostgreSQL 18 or later, which has WITHOUT OVERLAPS."""
    version = zoo.engine.dialect.server_version_info
    return version is not None and version >= (18,)


def test_all_of_them_are_known_by_name(zoo: DataAccessLayer, is_18: bool) -> None:
    temporal = {"keyed_temporal": ("room", "during")} if is_18 else {}
    assert zoo.unique_constraints("zoo.keyed") == temporal | {
        "keyed_pkey": ("id",),
        "keyed_code": ("code",),
        "keyed_slow": ("slow",),
        "keyed_maybe": ("maybe",),
        "keyed_included": ("lang", "code"),
        "keyed_email": ("lower(email)",),
        "keyed_mixed": ("lang", "(extra + 1)"),
        "keyed_live": ("lang",),
        "keyed_lower_live": ("lower(code)",),
        "keyed_broken": ("extra",),
    }


def test_a_table_object_does_as_well_as_a_name(zoo: DataAccessLayer) -> None:
    table = zoo.get_table("zoo.thing")
    assert zoo.unique_constraints(table) == {"thing_pkey": ("b", "a")}
    assert zoo.unique_constraints("zoo.nothing") == {}


def test_the_predicate_is_available(zoo: DataAccessLayer) -> None:
    keys = zoo.unique_keys("zoo.keyed")
    assert keys["keyed_lower_live"].predicate == "live"
    assert "'sad'::zoo.mood" in keys["keyed_live"].predicate
    assert keys["keyed_code"].predicate == ""
    assert keys["keyed_maybe"].nulls_not_distinct
    assert not keys["keyed_code"].nulls_not_distinct


def test_exclusion_constraints_are_keys_but_not_unique(zoo: DataAccessLayer) -> None:
    assert "keyed_room" not in zoo.unique_constraints("zoo.keyed")
    assert zoo.unique_keys("zoo.keyed")["keyed_room"].columns == ("room", "during")


def test_the_only_constraint_needs_no_name(
    db: DataAccessLayer, zoo: DataAccessLayer, is_18: bool
) -> None:
    assert db.get_unique_constraint("author") == ("name",)
    assert db.get_unique_constraint(db.get_table("book")) == ("catalog",)
    with pytest.raises(LookupError, match=r"'zoo\.hen' has 0 unique constraints.*\(none\)"):
        zoo.get_unique_constraint("zoo.hen")
    with pytest.raises(LookupError, match=rf"has {9 + is_18} unique constraints.*keyed_code"):
        zoo.get_unique_constraint("zoo.keyed")


async def test_obstacles_are_what_postgres_refuses(zoo: DataAccessLayer, is_18: bool) -> None:
    """Each key, tried as a conflict target in SQL that is written by hand."""
    refused = set()
    async with zoo.transaction(with_commit=False) as tx:
        driver = await tx.get_dbapi_connection()
        for name, key in zoo.unique_keys("zoo.keyed").items():
            where = f"WHERE {key.predicate}" if key.predicate else ""
            target = f"({', '.join(key.columns)}) {where}"
            try:
                async with tx.savepoint():
                    await driver.execute(
                        f"INSERT INTO zoo.keyed (id) VALUES (5) ON CONFLICT {target} DO NOTHING"
                    )
                    await driver.execute("DELETE FROM zoo.keyed WHERE id = 5")
            except (
                asyncpg.InvalidColumnReferenceError,
                asyncpg.ObjectNotInPrerequisiteStateError,
            ):
                refused.add(name)
    assert refused == set(REFUSED) - (set() if is_18 else {"keyed_temporal"})
    assert {n for n, key in zoo.unique_keys("zoo.keyed").items() if key.obstacle} == refused


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
async def test_an_upsert_refuses_them_first_and_in_words(
    zoo: DataAccessLayer, name: str, reason: str, is_18: bool
) -> None:
    if name == "keyed_temporal" and not is_18:
        pytest.skip("PostgreSQL 18 has WITHOUT OVERLAPS")
    async with zoo.transaction(with_commit=False) as tx:
        with pytest.raises(LookupError, match=rf"'{name}' on zoo\.keyed cannot .*{reason}"):
            await Keyed.upsert(tx, id=1, conflict=name)


@pytest.mark.parametrize("name", ACCEPTED)
async def test_an_upsert_takes_all_others(zoo: DataAccessLayer, name: str) -> None:
    """With another value in every column that is in no key, and NULL as a value once."""
    async with zoo.transaction(with_commit=False) as tx:
        first, created = await Keyed.upsert(tx, ROW, conflict=name)
        assert first is not None
        assert created
        second, created = await Keyed.upsert(tx, ROW, conflict=name, update=["email"])
        assert (second, created) == (first, False)


async def test_get_or_create_takes_only_keys_that_hold_for_every_row(zoo: DataAccessLayer) -> None:
    refused: list[dict[str, Any]] = [{"slow": 1}, {"lang": "l"}, {"extra": 1}]
    async with zoo.transaction(with_commit=False) as tx:
        for key in refused:
            with pytest.raises(LookupError, match="is not unique"):
                await Keyed.get_or_create(tx, None, **key)
        _, created = await Keyed.get_or_create(tx, {"id": 7}, code="x", lang="y")
        assert created
