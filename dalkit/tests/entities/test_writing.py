"""Inserting, updating and deleting rows."""

import pytest
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from dalkit import TransactionManager
from dalkit.data.statements import Where
from dalkit.errors import UnknownColumn

from tests.entities.models import Author, AuthorPatch, Book, Mood, Odd


async def test_insert_returns_the_row_with_its_defaults(tx: TransactionManager) -> None:
    book = await Book.insert(tx, {"title": "Solaris"}, author_id=1)
    assert (book.title, str(book.price)) == ("Solaris", "0.00")
    assert await Book.get_by_pk(tx, book.id) == book


async def test_all_fields_of_a_model_are_inserted(tx: TransactionManager) -> None:
    """The model's own defaults count; the database's are for columns it does not have."""
    author = await Author.insert(tx, AuthorPatch(), country="PL")
    assert (author.name, author.born) == ("Nobody", None)


async def test_generated_columns_of_a_model_are_left_to_postgres(tx: TransactionManager) -> None:
    copied = await Odd.insert(tx, Odd(order=4, select="a", doubled=1))
    assert copied.doubled == 8


@pytest.mark.parametrize("column", ["id"])
async def test_a_generated_column_that_is_named_is_refused(
    tx: TransactionManager, column: str
) -> None:
    with pytest.raises(ValueError, match=r"lab\.author\.id is generated"):
        await Author.insert(tx, {column: 1, "name": "x", "country": "x"})


async def test_writing_an_unknown_column_names_the_near_ones(tx: TransactionManager) -> None:
    with pytest.raises(UnknownColumn, match="Did you mean 'country'"):
        await Author.insert(tx, name="x", contry="x")
    with pytest.raises(UnknownColumn, match="Did you mean 'country'"):
        await Author.update(tx, 1, contry="x")


async def test_quoted_names_enums_arrays_and_json_are_written(tx: TransactionManager) -> None:
    values = {'Mixed "Case': 7, "tags": ["a,b", '"'], "feeling": Mood.SAD, "meta": {"a": [1, None]}}
    made = await Odd.insert(tx, values, order=1, select="x")
    assert (made.mixed, made.tags, made.feeling) == (7, ["a,b", '"'], Mood.SAD)
    assert made.meta == {"a": [1, None]}


async def test_none_for_json_is_null_and_not_the_json_null(tx: TransactionManager) -> None:
    await Odd.insert(tx, order=1, select="x", meta=None)
    await Odd.insert_many(tx, [{"order": 2, "select": "x", "meta": None}])
    odd = tx.get_table("lab.odd")
    rows = await tx.fetch_all(select(odd.c.meta.is_(None).label("is_null")))
    assert rows == [{"is_null": True}, {"is_null": True}]
    assert await Odd.get_one(tx, order=1, meta=None) is not None


async def test_too_long_a_text_is_refused_and_not_cut(tx: TransactionManager) -> None:
    for values in ({"code": "abcd"}, {"label": "abcdef"}):
        for insert in (
            lambda row: Odd.insert(tx, row),
            lambda row: Odd.insert_many(tx, [row]),
        ):
            with pytest.raises(Exception, match="too long"):
                async with tx.savepoint():
                    await insert({"order": 1, "select": "x", **values})


async def test_update_returns_the_row_or_none(tx: TransactionManager) -> None:
    author = await Author.insert(tx, name="Lem", country="PL")
    changed = await Author.update(tx, author.id, born=1921)
    assert changed == author.model_copy(update={"born": 1921})
    assert await Author.update(tx, author.id + 1, born=1) is None


async def test_update_writes_the_fields_that_were_set(tx: TransactionManager) -> None:
    author = await Author.insert(tx, name="Lem", country="PL", born=1)
    changed = await Author.update(tx, author.id, AuthorPatch(born=None))
    assert changed == author.model_copy(update={"born": None})


async def test_an_empty_update_reads(tx: TransactionManager) -> None:
    author = await Author.insert(tx, name="Lem", country="PL")
    assert await Author.update(tx, author.id, AuthorPatch()) == author
    assert await Author.update(tx, author.id, where={"name": "other"}) is None


async def test_update_and_delete_only_where(tx: TransactionManager) -> None:
    author = await Author.insert(tx, name="Lem", country="PL")
    table = tx.get_table("lab.author")
    misses: list[Where] = [
        {"born": 1},
        {"born": None, "name": "x"},
        table.c.name == "x",
        {"id": -1},
    ]
    for where in misses:
        assert await Author.update(tx, author.id, country="UA", where=where) is None
        assert not await Author.delete(tx, author.id, where=where)
    hits: list[Where] = [{"born": None}, table.c.name == "Lem", {"id": author.id}]
    for where in hits:
        assert await Author.update(tx, author.id, country="UA", where=where) is not None
    assert await Author.delete(tx, author.id, where={"country": "UA"})
    assert await Author.get_by_pk(tx, author.id) is None
    assert not await Author.delete(tx, author.id)


async def test_a_composite_key_is_a_tuple(tx: TransactionManager) -> None:
    await Odd.insert(tx, order=1, select="a")
    changed = await Odd.update(tx, (1, "a"), {"code": "x"})
    assert changed is not None
    assert changed.code == "x"
    assert await Odd.delete(tx, (1, "a"))


async def test_a_violated_constraint_is_an_integrity_error(tx: TransactionManager) -> None:
    await Author.insert(tx, name="Lem", country="PL")
    with pytest.raises(IntegrityError, match="author_name_key"):
        await Author.insert(tx, name="Lem", country="PL")


def test_an_entity_is_a_value_and_cannot_be_assigned_to() -> None:
    author = Author(id=1, name="Lem", born=None, country="PL")
    with pytest.raises(ValueError, match="frozen"):
        author.name = "x"  # type: ignore[misc]
    assert isinstance(author, BaseModel)
