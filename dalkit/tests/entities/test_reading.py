"""Reading rows as entities."""

from datetime import datetime
from decimal import Decimal

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import MultipleResultsFound

from dalkit import TransactionManager
from dalkit.entities import UnknownColumn, fetch_entities, fetch_entity
from dalkit.web.problems import Problem

from tests.entities.models import Author, Book, BooksByAuthor, Edition, Odd


async def test_a_row_is_found_by_its_primary_key(tx: TransactionManager) -> None:
    made = await Author.insert(tx, name="Le Guin", country="US")
    assert await Author.get_by_pk(tx, made.id) == made
    assert await Author.get_by_pk(tx, made.id + 1) is None


async def test_a_composite_key_is_given_in_order(tx: TransactionManager) -> None:
    made = await Odd.insert(tx, order=1, select="a")
    assert await Odd.get_by_pk(tx, 1, "a") == made
    assert await Odd.get_by_pk(tx, 1, "b") is None


async def test_a_row_that_is_missing_or_deleted_is_a_problem(tx: TransactionManager) -> None:
    made = await Edition.insert(tx, book_id=1, number=2, title="x")
    assert await Edition.get_or_404(tx, 1, 2) == made
    with pytest.raises(Problem) as missing:
        await Edition.get_or_404(tx, 1, 3)
    assert (missing.value.status_code, missing.value.detail) == (
        404,
        "There is no edition (1, 3).",
    )
    await Edition.update(tx, (1, 2), deleted_at=datetime(2026, 1, 1))  # noqa: DTZ001 - no time zone
    with pytest.raises(Problem) as deleted:
        await Edition.get_or_404(tx, 1, 2)
    assert (deleted.value.status_code, deleted.value.detail) == (410, "Edition (1, 2) was deleted.")
    author = await Author.insert(tx, name="Lem", country="PL")
    with pytest.raises(Problem, match=f"There is no author {author.id + 1}."):
        await Author.get_or_404(tx, author.id + 1)


async def test_a_wrong_number_of_key_values_names_the_key(tx: TransactionManager) -> None:
    with pytest.raises(LookupError, match=r"primary key of lab.odd is \(order, select\); got \(1,"):
        await Odd.get_by_pk(tx, 1)


async def test_get_one_is_none_when_missing_and_an_error_when_several(
    tx: TransactionManager,
) -> None:
    await Author.insert_many(tx, [{"name": name, "country": "PL"} for name in ("Lem", "Tuwim")])
    found = await Author.get_one(tx, name="Lem", country="PL")
    assert found is not None
    assert found.name == "Lem"
    assert await Author.get_one(tx, name="Lem", country="US") is None
    with pytest.raises(MultipleResultsFound, match=r"lab\.author .* country"):
        await Author.get_one(tx, country="PL")


async def test_none_false_zero_and_empty_text_are_values(tx: TransactionManager) -> None:
    empty = await Author.insert(tx, name="", country="", born=0)
    null = await Author.insert(tx, name="x", country="", born=None)
    assert await Author.get_one(tx, name="") == empty
    assert await Author.get_one(tx, born=0) == empty
    assert await Author.get_one(tx, born=None) == null
    dropped = await Book.insert(tx, title="", author_id=0, in_print=False)
    await Book.insert(tx, title="", author_id=0, in_print=True)
    assert await Book.get_one(tx, in_print=False) == dropped


async def test_an_unknown_name_is_answered_with_the_near_ones(tx: TransactionManager) -> None:
    with pytest.raises(UnknownColumn, match=r"'nmae' in lab\.author\. Did you mean 'name'\?"):
        await Author.get_one(tx, nmae="Lem")


async def test_only_the_columns_of_fields_are_selected(tx: TransactionManager) -> None:
    """Selecting the view's fourth column would divide by zero."""
    author = await Author.insert(tx, name="Lem", country="PL")
    await Book.insert(tx, title="Solaris", author_id=author.id)
    found = await BooksByAuthor.get_one(tx, name="Lem")
    assert found == BooksByAuthor(id=author.id, name="Lem", number_of_books=1)


async def test_a_custom_statement_fits_any_model(tx: TransactionManager) -> None:
    await Author.insert_many(tx, [{"name": name, "country": "PL"} for name in ("Lem", "Tuwim")])
    author = tx.get_table("lab.author")
    statement = select(
        author.c.country.label("name"),
        func.count().label("number_of_books"),
        func.min(author.c.id).label("id"),
    ).group_by(author.c.country)
    (row,) = await fetch_entities(tx, BooksByAuthor, statement)
    assert (row.name, row.number_of_books) == ("PL", 2)
    assert await fetch_entity(tx, BooksByAuthor, statement) == row
    assert await fetch_entity(tx, BooksByAuthor, statement.where(author.c.id < 0)) is None


async def test_stored_nan_is_read_and_is_null_in_json(tx: TransactionManager) -> None:
    made = await Odd.insert(tx, order=1, select="", ratio=float("nan"))
    assert '"ratio":null' in made.model_dump_json()
    book = await Book.insert(tx, title="x", author_id=1, price=Decimal("NaN"))
    assert book.price.is_nan()
    assert book.model_dump_json()


async def test_an_entity_without_a_table_says_so(tx: TransactionManager) -> None:
    class Row(Author, table=""):
        pass

    with pytest.raises(TypeError, match="Row names no table"):
        await Row.get_by_pk(tx, 1)
