"""Upserts, get_or_create and update_or_create, one at a time."""

import pytest

from dalkit import TransactionManager
from dalkit.entities import Entity
from dalkit.errors import UnknownColumn

from tests.entities.models import Author, Odd, Part

LEM = {"name": "Lem", "country": "PL"}


async def test_upsert_tells_created_from_updated(tx: TransactionManager) -> None:
    made, created = await Author.upsert(tx, LEM, conflict="author_name_key")
    assert created
    changed, created = await Author.upsert(tx, LEM, born=1921, conflict="author_name_key")
    assert not created
    assert made is not None
    assert changed == made.model_copy(update={"born": 1921})


async def test_upsert_updates_only_the_columns_asked_for(tx: TransactionManager) -> None:
    await Author.insert(tx, LEM)
    values = {"name": "Lem", "country": "UA", "born": 1921}
    changed, _ = await Author.upsert(tx, values, conflict="author_name_key", update=["born"])
    assert changed is not None
    assert (changed.country, changed.born) == ("PL", 1921)


async def test_upsert_may_leave_the_row_that_is_there(tx: TransactionManager) -> None:
    made, created = await Author.upsert(tx, LEM, conflict="author_name_key", do="nothing")
    assert created
    other = {"name": "Lem", "country": "UA"}
    assert await Author.upsert(tx, other, conflict="author_name_key", do="nothing") == (None, False)
    assert await Author.get_one(tx, name="Lem") == made


async def test_upsert_of_nothing_but_the_key_returns_the_row(tx: TransactionManager) -> None:
    assert await Part.upsert(tx, id=1, conflict="part_pkey") == (Part(id=1, value=None), True)
    assert await Part.upsert(tx, id=1, conflict="part_pkey") == (Part(id=1, value=None), False)


@pytest.mark.parametrize("version", [None, (15,)], ids=["this server", "PostgreSQL 15"])
async def test_a_partitioned_table_tells_created_from_updated(
    tx: TransactionManager, monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...] | None
) -> None:
    """It has no xmax, which earlier servers tell it by."""
    table = tx.get_table("lab.part")
    table.info.pop("statements", None)
    if version:
        monkeypatch.setattr(tx.engine.dialect, "server_version_info", version)
    for value, is_new in (("a", True), ("b", False)):
        row = await Part.upsert(tx, id=1, value=value, conflict="part_pkey")
        assert row == (Part(id=1, value=value), is_new)
    table.info.pop("statements")


async def test_a_unique_index_is_a_conflict_target(tx: TransactionManager) -> None:
    await Odd.insert(tx, order=1, select="a", code="x")
    row, created = await Odd.upsert(
        tx, order=2, select="b", code="x", conflict="odd_code", update=["order"]
    )
    assert row is not None
    assert (row.order, row.select, created) == (2, "a", False)


async def test_a_partial_unique_index_is_used_with_its_predicate(tx: TransactionManager) -> None:
    await Odd.insert(tx, {'Mixed "Case': 1, "live": False}, order=1, select="a")
    for order, is_new in ((2, True), (3, False)):
        values = {'Mixed "Case': 1, "order": order, "select": "a"}
        _, created = await Odd.upsert(tx, values, conflict="odd_live", update=["select"])
        assert created is is_new


async def test_a_unique_index_on_an_expression_is_a_conflict_target(
    tx: TransactionManager,
) -> None:
    for order, label, is_new in ((1, "Ab", True), (2, "aB", False)):
        values = {"order": order, "select": "a", "label": label}
        row, created = await Odd.upsert(tx, values, conflict="odd_label", update=["label"])
        assert row is not None
        assert (row.order, row.label, created) == (1, label, is_new)


async def test_what_postgres_refuses_as_a_conflict_target_is_refused_in_words(
    tx: TransactionManager,
) -> None:
    class Heap(Entity, table="lab.heap"):
        a: int | None

    with pytest.raises(
        LookupError, match=r"'heap_a' on lab\.heap cannot be a conflict target: .*deferrable"
    ):
        await Heap.upsert(tx, a=1, b="x", conflict="heap_a")
    with pytest.raises(LookupError, match="is not unique"):
        await Heap.get_or_create(tx, a=1)


async def test_an_unknown_constraint_names_those_there_are(tx: TransactionManager) -> None:
    with pytest.raises(LookupError, match=r"'nope' on lab\.author.* author_name_key, author_pkey"):
        await Author.upsert(tx, LEM, conflict="nope")


async def test_get_or_create_creates_with_defaults_and_then_gets(tx: TransactionManager) -> None:
    made, created = await Author.get_or_create(tx, name="Lem", defaults={"country": "PL"})
    assert (created, made.country) == (True, "PL")
    found = await Author.get_or_create(tx, name="Lem", defaults={"country": "UA"})
    assert found == (made, False)


async def test_update_or_create_updates_without_what_only_an_insert_needs(
    tx: TransactionManager,
) -> None:
    """`country` is NOT NULL, and not among the values."""
    made = await Author.insert(tx, LEM)
    changed = await Author.update_or_create(tx, name="Lem", defaults={"born": 1921})
    assert changed == (made.model_copy(update={"born": 1921}), False)


async def test_update_or_create_creates(tx: TransactionManager) -> None:
    row, created = await Author.update_or_create(tx, name="Lem", defaults={"country": "PL"})
    assert (row.country, created) == ("PL", True)


async def test_update_or_create_without_values_gets(tx: TransactionManager) -> None:
    made = await Author.insert(tx, LEM)
    assert await Author.update_or_create(tx, name="Lem") == (made, False)


async def test_none_false_and_zero_are_written_over_other_values(tx: TransactionManager) -> None:
    await Author.insert(tx, LEM, born=1921)
    for value in (0, None):
        row, _ = await Author.update_or_create(tx, name="Lem", defaults={"born": value})
        assert row.born == value


async def test_a_key_that_is_not_unique_is_refused(tx: TransactionManager) -> None:
    """Two concurrent calls would create two rows."""
    with pytest.raises(LookupError, match=r"\(country\) is not unique .* author_name_key \(name\)"):
        await Author.get_or_create(tx, country="PL", defaults={"name": "Lem"})
    with pytest.raises(LookupError, match="is not unique"):
        await Author.update_or_create(tx, name="Lem", country="PL")
    with pytest.raises(LookupError, match="is not unique"):  # the index is partial
        await Odd.get_or_create(tx, None, **{'Mixed "Case': 1})
    with pytest.raises(UnknownColumn, match="Did you mean 'name'"):
        await Author.get_or_create(tx, nme="Lem")
