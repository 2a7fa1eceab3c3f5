"""The comparison of models and tables at startup."""

from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from types import new_class
from typing import Any, Literal

import pytest

from dalkit import DataAccessLayer
from dalkit.entities import Entity, EntityMismatch, check_entities
from dalkit.errors import NotReflected
from dalkit.paging import QueryModel
from dalkit.types import Date, Filter, Int16, Int32, Int64, Text

from tests.entities import models


def problems(lab: DataAccessLayer, *checked: type) -> tuple[str, ...]:
    """What the check finds."""
    with pytest.raises(EntityMismatch) as caught:
        check_entities(lab, checked)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


async def test_models_that_fit_pass(lab: DataAccessLayer) -> None:
    fitting = (models.Author, models.Book, models.Odd, models.Part, models.BooksByAuthor)
    check_entities(lab, [*fitting, models.BookQuery, models.BookFeed, models.AuthorPatch])


async def test_everything_that_does_not_fit_is_in_one_error(lab: DataAccessLayer) -> None:
    class Wrong(Entity, table="lab.book"):
        titel: str
        published: date
        price: int

    class Lost(Entity, table="lab.bok"):
        id: int

    found = problems(lab, Wrong, models.Author, Lost)
    assert found == (
        (
            "Wrong.titel: No column 'titel' in lab.book. Did you mean 'title'? "
            "Rename the field or set its alias, or migrate."
        ),
        (
            "Wrong.published: column lab.book.published may be NULL. "
            "Declare the field `| None`, or migrate."
        ),
        (
            "Wrong.price is int, but column lab.book.price is NUMERIC(precision=10, scale=2). "
            "Change either."
        ),
        "Lost: No table 'lab.bok'. Did you mean 'lab.book'? Reflected schemas: lab.",
    )


class Wrong(Enum):
    """Numbers where the column has labels."""

    SAD = 1


@pytest.mark.parametrize(
    ("table", "column", "fits", "does_not"),
    [
        ("lab.author", "id", [int, Decimal, int | str, Any], [str, date, bool, bytes]),
        ("lab.author", "name", [str, object], [int, Literal[1]]),
        ("lab.book", "price", [Decimal, float], [int, str]),
        ("lab.book", "in_print", [bool], [int, str]),
        ("lab.book", "published", [date | None], [datetime | None, str | None]),
        ("lab.book", "deleted_at", [datetime | None], [date | None]),
        ("lab.odd", "tags", [list[str] | None, list[Any] | None], [list[int] | None, str | None]),
        ("lab.odd", "feeling", [models.Mood | None, str | None], [Wrong | None, int | None]),
        ("lab.odd", "meta", [dict[str, Any] | None, models.AuthorPatch | None], []),
        ("lab.odd", "label", [str | None], [int | None, str]),
        ("lab.heap", "a", [int | None], [int, str | None]),
        ("lab.books_by_author", "number_of_books", [int, int | None], [str]),
    ],
)
async def test_types_are_compared(
    lab: DataAccessLayer, table: str, column: str, fits: list[Any], does_not: list[Any]
) -> None:
    def entity(annotation: Any) -> type[Entity]:
        namespace = {"__annotations__": {column: annotation}, "__module__": __name__}
        return new_class("Row", (Entity,), {"table": table}, lambda body: body.update(namespace))

    for annotation in fits:
        check_entities(lab, [entity(annotation)])
    for annotation in does_not:
        assert any(f"{table}.{column}" in problem for problem in problems(lab, entity(annotation)))


async def test_filters_are_compared(lab: DataAccessLayer) -> None:
    class Query(QueryModel, entity=models.Author):
        nam__eq: Filter[Text] = None
        name__eq: Filter[str] = None
        name__ge: Filter[Int32] = None
        id__eq: Filter[int] = None
        id__in: Filter[Int64] = None
        born__eq: Filter[Int64] = None
        born__ge: Filter[Int16] = None
        born__contains: Filter[Text] = None
        born__lt: Filter[Date] = None
        born__isnull: Filter[bool] = None
        order_by: Literal["name", "-nme"] = "name"

    found = problems(lab, Query)
    expected = [
        ("nam__eq", "Did you mean 'name'"),
        ("name__eq", "dalkit.types.Text"),
        ("name__ge", "is int | None, but column name is TEXT()"),
        ("id__eq", "dalkit.types.Int64"),
        ("id__in", "Filter[list[...]]"),
        ("born__eq", "dalkit.types.Int32"),
        ("born__contains", "is for text"),
        ("born__lt", "is date | None"),
        ("-nme", "Did you mean 'name'"),
    ]
    assert len(found) == len(expected)
    for problem, (where, what) in zip(found, expected, strict=True):
        assert where in problem
        assert what in problem


async def test_a_query_of_a_table_without_a_key_needs_a_tie_break(lab: DataAccessLayer) -> None:
    class Heap(Entity, table="lab.heap"):
        a: int | None

    class Query(QueryModel, entity=Heap):
        order_by: Literal["a"] = "a"

    (problem,) = problems(lab, Query)
    assert "tie_break" in problem


def test_an_unknown_operator_is_an_error_of_the_class() -> None:
    with pytest.raises(TypeError, match=r"'id__like': no operator 'like'\. There are: eq, ne, lt"):

        class Query(QueryModel):
            id__like: Filter[Int64] = None


def test_the_check_needs_a_reflected_database() -> None:
    with pytest.raises(NotReflected):
        check_entities(DataAccessLayer(), [models.Author])
