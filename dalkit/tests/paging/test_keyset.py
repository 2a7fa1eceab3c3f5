"""Pages by cursor."""

import random
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, get_args
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.exceptions import RequestValidationError

from dalkit import TransactionManager
from dalkit.paging import KeysetQueryModel, Page
from dalkit.paging.keyset import Cursor

from tests.entities.models import Book, BookFeed, BookQuery, Orderings

URL = "http://testserver/feed"


async def follow(
    tx: TransactionManager, url: str, query: type[KeysetQueryModel] = BookFeed
) -> Page[Book]:
    """The page at a link."""
    parameters: dict[str, Any] = {
        name: values[0] for name, values in parse_qs(urlsplit(url).query).items()
    }
    return await Book.page(tx, query(**parameters), url)


async def pages(tx: TransactionManager, url: str, link: str) -> list[list[int]]:
    """The ids on each page, as long as there is a link."""
    found = []
    following: str | None = url
    while following:
        page = await follow(tx, following)
        found.append([book.id for book in page.results])
        following = getattr(page, link)
    return found


@pytest.fixture
async def books(tx: TransactionManager) -> Sequence[Book]:
    """Fifty books; every key repeats, dates are missing."""
    chance = random.Random(7)
    rows = [
        {
            "title": chance.choice(["a", "B", "", "ü", "a b"]),
            "author_id": 1,
            "published": chance.choice([None, date(2000, 1, 1), date(2001, 1, 1)]),
            "price": chance.choice([Decimal("1.10"), Decimal(2)]),
        }
        for _ in range(50)
    ]
    return await Book.insert_many(tx, rows)


@pytest.mark.parametrize("order_by", get_args(Orderings))
async def test_pages_lead_through_all_rows_and_back(
    tx: TransactionManager, books: Sequence[Book], order_by: Any
) -> None:
    """In the order of one statement, NULLs and ties included."""
    assert len(books) == 50
    forward = await pages(tx, f"{URL}?limit=7&order_by={order_by}", "next_url")
    expected = await Book.page(tx, BookQuery(limit=100, order_by=order_by), URL)
    assert [one for ids in forward for one in ids] == [book.id for book in expected.results]
    assert [len(ids) for ids in forward] == [7] * 7 + [1]
    last = await follow(tx, f"{URL}?limit=7&order_by={order_by}")
    while last.next_url:
        last = await follow(tx, last.next_url)
    assert last.prev_url is not None
    backward = await pages(tx, last.prev_url, "prev_url")
    assert backward[::-1] == forward[:-1]


async def test_rows_inserted_meanwhile_neither_repeat_nor_hide_others(
    tx: TransactionManager, books: Sequence[Book]
) -> None:
    page = await follow(tx, f"{URL}?limit=10&order_by=-id")
    seen = [book.id for book in page.results]
    while page.next_url:
        await Book.insert(tx, title="new", author_id=1)
        page = await follow(tx, page.next_url)
        seen += [book.id for book in page.results]
    assert seen == [book.id for book in reversed(books)]


async def test_the_ends_have_no_further_links(
    tx: TransactionManager, books: Sequence[Book]
) -> None:
    first = await follow(tx, f"{URL}?limit=50")
    assert (first.next_url, first.prev_url) == (None, None)
    second = await follow(tx, (await follow(tx, f"{URL}?limit=25")).next_url or "")
    assert second.next_url is None
    back = await follow(tx, second.prev_url or "")
    assert [book.id for book in back.results] == [book.id for book in books[:25]]
    assert back.prev_url is None
    assert back.next_url is not None


async def test_the_total_is_counted_on_request(
    tx: TransactionManager, books: Sequence[Book]
) -> None:
    assert (await follow(tx, f"{URL}?limit=5")).total_count is None
    page = await follow(tx, f"{URL}?limit=5&count=exact")
    assert (await follow(tx, page.next_url or "")).total_count == len(books)


async def test_a_cursor_is_good_for_its_ordering_only(
    tx: TransactionManager, books: Sequence[Book]
) -> None:
    """And not at all after a change of any of its characters."""
    assert books
    cursor = parse_qs(urlsplit((await follow(tx, f"{URL}?limit=5")).next_url or "").query)[
        "cursor"
    ][0]
    others = [
        cursor[:i] + ("A" if c != "A" else "B") + cursor[i + 1 :] for i, c in enumerate(cursor)
    ]
    for bad in [*others, cursor + "=", cursor + "!", cursor[:-1], "", "ü", "A" * 10_000]:
        with pytest.raises(RequestValidationError) as caught:
            await Book.page(tx, BookFeed(cursor=bad), URL)
        assert caught.value.errors()[0]["loc"] == ("query", "cursor")
    with pytest.raises(RequestValidationError):
        await Book.page(tx, BookFeed(cursor=cursor, order_by="-id"), URL)


async def test_a_forged_cursor_without_a_value_that_is_never_null_is_refused(
    tx: TransactionManager,
) -> None:
    """Its digest is right: that is no secret."""
    keys = BookFeed.ordering(tx.get_table(Book.__table__), "id")
    forged = Cursor((None,) * len(keys), backward=False).encode(keys, "BookFeed id")
    with pytest.raises(RequestValidationError):
        await Book.page(tx, BookFeed(cursor=forged), URL)


async def test_a_key_that_is_not_a_field_is_read_beside_the_model(tx: TransactionManager) -> None:
    class Title(Book):
        """Without its other fields in the response."""

    class Feed(KeysetQueryModel, entity=Title):
        order_by: str = "-in_print"

    await Book.insert_many(tx, [{"title": t, "author_id": 1, "in_print": t != "b"} for t in "abc"])
    page = await Title.page(tx, Feed(limit=1), URL)
    found = []
    while True:
        found += [book.title for book in page.results]
        if page.next_url is None:
            break
        cursor = parse_qs(urlsplit(page.next_url).query)["cursor"][0]
        page = await Title.page(tx, Feed(limit=1, cursor=cursor), URL)
    assert found == ["c", "a", "b"]


async def test_an_index_finds_the_page_however_deep_it_is(tx: TransactionManager) -> None:
    """The condition on the keys is the index's own, and not a filter of the rows before."""
    await Book.insert_many(
        tx, [{"title": f"{n:05}", "author_id": 1} for n in range(2000)], returning=False
    )
    page = await follow(tx, f"{URL}?limit=2&order_by=title")
    await follow(tx, page.next_url or "")
    statements = tx.get_table("lab.book").info["statements"]
    start = (False, (False, False))
    (statement,) = (made for key, made in statements.items() if key[-2:] == ("title", start))
    conn = await tx.get_dbapi_connection()
    await conn.execute("ANALYZE lab.book")
    compiled = statement.compile(dialect=tx.engine.dialect)
    values = {"k0": "01000", "k1": 1, "limit": 3}
    arguments = [values[name] for name in compiled.positiontup]
    plan = await conn.fetch(f"EXPLAIN {compiled}", *arguments)
    assert any("Index Cond: (ROW(title, id) > ROW(" in line[0] for line in plan), plan
