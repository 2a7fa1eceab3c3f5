"""Filters and orderings of query models, as statements."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from dalkit import TransactionManager
from dalkit.errors import UnknownColumn
from dalkit.paging import QueryModel
from dalkit.types import Filter, Int64

from tests.entities.models import Book, BookQuery

URL = "http://testserver/books"
ROWS: list[dict[str, Any]] = [
    {"title": "Solaris", "author_id": 1, "published": date(1961, 1, 1), "price": Decimal(0)},
    {"title": "100% Wolf", "author_id": 2, "published": None, "price": Decimal("9.99")},
    {"title": "a_b\\c", "author_id": 2, "published": date(2000, 2, 29), "price": Decimal("1.50")},
    {"title": "", "author_id": 0, "published": date(1961, 1, 1), "price": Decimal("9.99")},
]


async def titles(tx: TransactionManager, **parameters: Any) -> list[str]:
    """The titles that a query finds among ROWS."""
    await Book.insert_many(tx, [{**row, "in_print": bool(row["title"])} for row in ROWS])
    page = await Book.page(tx, BookQuery(**parameters), URL)
    assert page.total_count == len(page.results)
    return [book.title for book in page.results]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, ["Solaris", "100% Wolf", "a_b\\c", ""]),
        ({"title__eq": "Solaris"}, ["Solaris"]),
        ({"title__eq": ""}, [""]),
        ({"title__ne": ""}, ["Solaris", "100% Wolf", "a_b\\c"]),
        ({"author_id__eq": 0}, [""]),
        ({"in_print__eq": False}, [""]),
        ({"price__eq": Decimal("0.00")}, ["Solaris"]),
        ({"author_id__in": [1, 0, 99]}, ["Solaris", ""]),
        ({"author_id__in": []}, []),
        ({"published__eq": date(2000, 2, 29)}, ["a_b\\c"]),
        ({"published__ne": date(1961, 1, 1)}, ["100% Wolf", "a_b\\c"]),
        ({"published__lt": date(1961, 1, 1)}, []),
        ({"published__le": date(1961, 1, 1)}, ["Solaris", ""]),
        ({"published__gt": date(1961, 1, 1)}, ["a_b\\c"]),
        ({"published__ge": date(1961, 1, 1)}, ["Solaris", "a_b\\c", ""]),
        ({"published__isnull": True}, ["100% Wolf"]),
        ({"published__isnull": False}, ["Solaris", "a_b\\c", ""]),
        ({"title__contains": "ol"}, ["Solaris", "100% Wolf"]),
        ({"title__contains": "WOLF"}, []),
        ({"title__icontains": "WOLF"}, ["100% Wolf"]),
        ({"title__startswith": "Sol"}, ["Solaris"]),
        ({"title__startswith": "ol"}, []),
        ({"title__contains": ""}, ["Solaris", "100% Wolf", "a_b\\c", ""]),
        ({"published__isnull": False, "author_id__eq": 2}, ["a_b\\c"]),
    ],
)
async def test_filters(
    tx: TransactionManager, parameters: dict[str, Any], expected: list[str]
) -> None:
    assert await titles(tx, **parameters) == expected


@pytest.mark.parametrize("operator", ["contains", "icontains", "startswith"])
@pytest.mark.parametrize(
    ("wildcard", "found"), [("%", ["100% Wolf"]), ("_", ["a_b\\c"]), ("\\", ["a_b\\c"])]
)
async def test_wildcards_are_literals(
    tx: TransactionManager, operator: str, wildcard: str, found: list[str]
) -> None:
    expected = [] if operator == "startswith" else found
    assert await titles(tx, **{f"title__{operator}": wildcard}) == expected


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ("id", [0, 1, 2, 3]),
        ("-id", [3, 2, 1, 0]),
        ("published", [0, 3, 2, 1]),
        ("-published", [1, 2, 3, 0]),
        ("published,-title", [0, 3, 2, 1]),
        ("-price,title", [3, 1, 2, 0]),
    ],
)
async def test_orderings_end_with_the_primary_key(
    tx: TransactionManager, order_by: str, expected: list[int]
) -> None:
    assert await titles(tx, order_by=order_by) == [ROWS[i]["title"] for i in expected]


async def test_a_restriction_holds_in_every_request(tx: TransactionManager) -> None:
    deleted = await Book.insert(tx, title="gone", author_id=1, deleted_at=None)
    assert "gone" in await titles(tx)
    table = tx.get_table("lab.book")
    await tx.execute(
        table.update().where(table.c.id == deleted.id).values(deleted_at=datetime.now(UTC))
    )
    assert "gone" not in await titles(tx)


async def test_a_comparison_does_not_round_its_value(tx: TransactionManager) -> None:
    """A cast to numeric(10, 2) would make 1.499 equal to 1.50."""

    class Query(QueryModel, entity=Book):
        price__eq: Filter[Decimal] = None
        price__in: Filter[list[Decimal]] = None

    await Book.insert(tx, title="x", author_id=1, price=Decimal("1.50"))
    for query in (Query(price__eq=Decimal("1.499")), Query(price__in=[Decimal("1.499")])):
        assert (await Book.page(tx, query, URL)).results == []


async def test_a_filter_of_an_unknown_column_is_an_error(tx: TransactionManager) -> None:
    class Query(QueryModel, entity=Book):
        tilte__eq: Filter[Int64] = None

    with pytest.raises(UnknownColumn, match="Did you mean 'title'"):
        await Book.page(tx, Query(tilte__eq=1), URL)


async def test_other_values_use_the_same_statement(tx: TransactionManager) -> None:
    """And the number of statements that are kept has an end."""
    table = tx.get_table("lab.book")
    for number in range(3):
        await Book.page(tx, BookQuery(author_id__eq=number, offset=number), URL)
    before = len(table.info["statements"])
    await Book.page(tx, BookQuery(author_id__eq=99, offset=5, limit=7), URL)
    assert len(table.info["statements"]) == before
