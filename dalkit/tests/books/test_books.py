"""The example resource, as a client sees it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import pytest
from fastapi import Response
from sqlalchemy import select

from dalkit import DataAccessLayer, Transaction, TransactionManager
from dalkit.web.conditional import WriteConditions
from dalkit.web.problems import Problem

from tests.service.authors import Author
from tests.service.books import Book
from tests.service.books.router import change_book, delete_book
from tests.service.books.schemas import BookPatch

PROBLEM = "application/problem+json"


@pytest.fixture
async def author(transaction: TransactionManager) -> Author:
    """An author to write books."""
    return await Author.insert(transaction, name="Ursula K. Le Guin")


@pytest.fixture
async def book(transaction: TransactionManager, author: Author) -> Book:
    """A book that is there."""
    return await Book.insert(
        transaction, catalog="LG-1", title="The Dispossessed", author_id=author.id, price="9.90"
    )


@asynccontextmanager
async def committed_book(url: str) -> AsyncIterator[tuple[DataAccessLayer, Book]]:
    """A book that every transaction sees; it is removed at the end."""
    async with DataAccessLayer.connect(url) as dal:
        async with dal.transaction() as tx:
            author, _ = await Author.get_or_create(tx, name="Raced for")
            book = await Book.insert(tx, catalog="R-1", title="x", author_id=author.id)
        yield dal, book
        async with dal.transaction() as tx:
            assert await Book.delete(tx, book.id)
            assert await Author.delete(tx, author.id)


async def at_once(dal: DataAccessLayer, book: Book, *writes: Coroutine[Any, Any, int]) -> list[int]:
    """The statuses of writes that have all read the book before the first of them writes."""

    async def status(write: Coroutine[Any, Any, int]) -> int:
        try:
            return await write
        except Problem as problem:
            return problem.status_code

    async with dal.transaction() as tx:
        table = tx.get_table("book")
        await tx.execute(select(table).where(table.c.id == book.id).with_for_update())
        tasks = [asyncio.create_task(status(write)) for write in writes]
        await asyncio.sleep(0.2)  # they have read the book and wait for its row
    return sorted(await asyncio.gather(*tasks))


def tag(book: Book) -> str:
    """The book's ETag."""
    return f'"{book.etag}"'


async def test_a_new_book_is_created_at_its_location(
    client: httpx.AsyncClient, author: Author
) -> None:
    new = {"catalog": "LG-2", "title": "The Word for World Is Forest", "author_id": author.id}
    created = await client.post("/v1/books", json=new)
    assert created.status_code == 201
    assert created.headers["location"] == f"/v1/books/{created.json()['id']}"
    found = await client.get(created.headers["location"])
    assert found.status_code == 200
    assert found.json() == created.json()
    assert found.headers["etag"] == created.headers["etag"]
    assert {name: found.json()[name] for name in new} == new


async def test_a_book_is_shown_without_what_is_internal(
    client: httpx.AsyncClient, book: Book
) -> None:
    response = await client.get(f"/v1/books/{book.id}")
    assert response.headers["etag"] == tag(book)
    body = response.json()
    assert body["price"] == "9.90"
    assert body["created_at"].endswith("Z") or "+" in body["created_at"]
    assert not {"etag", "deleted_at"} & body.keys()


async def test_a_slash_at_the_end_is_another_path(client: httpx.AsyncClient) -> None:
    """Nothing leads elsewhere; without a token: tests/web/test_hostile_paths.py."""
    for path in ("/v1/books/", "/v1/books/1/"):
        assert (await client.get(path)).status_code == 404


async def test_an_unchanged_book_is_not_sent_again(client: httpx.AsyncClient, book: Book) -> None:
    for header in (tag(book), f'"other", W/{tag(book)}', f"{tag(book)} , ,", "*"):
        response = await client.get(f"/v1/books/{book.id}", headers={"if-none-match": header})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == tag(book)
    changed = await client.get(f"/v1/books/{book.id}", headers={"if-none-match": '"other"'})
    assert changed.status_code == 200


async def test_a_patch_changes_what_it_names_and_the_etag(
    client: httpx.AsyncClient, book: Book
) -> None:
    response = await client.patch(
        f"/v1/books/{book.id}", json={"price": None}, headers={"if-match": tag(book)}
    )
    assert response.status_code == 200
    assert response.json()["price"] is None
    assert response.json()["title"] == book.title
    assert response.headers["etag"] != tag(book)
    assert (await client.get(f"/v1/books/{book.id}")).headers["etag"] == response.headers["etag"]


@pytest.mark.parametrize(
    ("if_match", "status"), [(None, 428), ('"stale"', 412), ("nonsense", 412), ("*", 200)]
)
async def test_a_patch_needs_the_etag_of_what_it_changes(
    client: httpx.AsyncClient, book: Book, if_match: str | None, status: int
) -> None:
    headers = {} if if_match is None else {"if-match": if_match}
    response = await client.patch(f"/v1/books/{book.id}", json={"title": "x"}, headers=headers)
    assert response.status_code == status
    if status >= 400:
        assert response.headers["content-type"] == PROBLEM
        assert (await client.get(f"/v1/books/{book.id}")).json()["title"] == book.title


async def test_an_empty_patch_changes_nothing(client: httpx.AsyncClient, book: Book) -> None:
    response = await client.patch(
        f"/v1/books/{book.id}", json={}, headers={"if-match": f'"other", {tag(book)}'}
    )
    assert (response.status_code, response.headers["etag"]) == (200, tag(book))


async def test_of_two_patches_with_one_etag_one_wins(committed_database: str) -> None:
    async with committed_book(committed_database) as (dal, book):

        async def change(title: str) -> int:
            patch = BookPatch(title=title)
            async with dal.transaction() as tx:
                conditional = WriteConditions(Response(), tag(book))
                await change_book(book.id, patch, cast(Transaction, tx), conditional)
            return 200

        assert await at_once(dal, book, change("one"), change("two")) == [200, 412]


async def test_a_deleted_book_is_gone_and_not_listed(client: httpx.AsyncClient, book: Book) -> None:
    url = f"/v1/books/{book.id}"
    stale = await client.delete(url, headers={"if-match": '"stale"'})
    assert stale.status_code == 412
    assert (await client.delete(url)).status_code == 204
    for response in (
        await client.get(url),
        await client.patch(url, json={}, headers={"if-match": "*"}),
        await client.delete(url),
    ):
        assert (response.status_code, response.headers["content-type"]) == (410, PROBLEM)
    assert (await client.get("/v1/books")).json()["total_count"] == 0


@pytest.mark.parametrize("if_match", [None, "*"])
async def test_a_condition_that_was_not_set_does_not_fail_when_two_delete_at_once(
    committed_database: str, if_match: str | None
) -> None:
    async with committed_book(committed_database) as (dal, book):

        async def delete() -> int:
            async with dal.transaction() as tx:
                conditional = WriteConditions(Response(), if_match)
                await delete_book(book.id, cast(Transaction, tx), conditional)
            return 204

        assert await at_once(dal, book, delete(), delete()) == [204, 410]


async def test_a_missing_book_is_a_problem(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/books/12345")
    assert (response.status_code, response.headers["content-type"]) == (404, PROBLEM)
    assert response.json()["detail"] == "There is no book 12345."
    assert response.json()["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    "book_id",
    [
        "0",
        "-1",
        "one",
        "99999999999999999999",
        "9" * 5_000,
        "a" * 10_000,
        "%00",
        "%ED%A0%80",
        "1.0",
    ],
)
async def test_an_id_that_no_book_can_have_is_a_problem(
    client: httpx.AsyncClient, book_id: str
) -> None:
    response = await client.get(f"/v1/books/{book_id}")
    assert response.status_code in (404, 422)
    assert response.headers["content-type"] == PROBLEM


async def test_a_method_that_a_path_does_not_have_names_those_that_it_has(
    client: httpx.AsyncClient,
) -> None:
    response = await client.put("/v1/books/1")
    assert (response.status_code, response.headers["content-type"]) == (405, PROBLEM)
    assert response.headers["allow"] == "DELETE, GET, HEAD, PATCH"


async def test_a_taken_catalog_number_is_a_conflict_and_the_next_request_works(
    client: httpx.AsyncClient, book: Book, author: Author
) -> None:
    new = {"catalog": book.catalog, "title": "Another", "author_id": author.id}
    response = await client.post("/v1/books", json=new)
    assert (response.status_code, response.headers["content-type"]) == (409, PROBLEM)
    assert [error["loc"] for error in response.json()["errors"]] == [["body", "catalog"]]
    assert (await client.post("/v1/books", json=new | {"catalog": "free"})).status_code == 201


async def test_an_unknown_author_is_a_conflict(client: httpx.AsyncClient) -> None:
    new = {"catalog": "x", "title": "x", "author_id": 404}
    response = await client.post("/v1/books", json=new)
    assert response.status_code == 409
    assert response.json()["errors"][0]["loc"] == ["body", "author_id"]


@pytest.mark.parametrize(
    "value",
    [
        {"title": "nul \x00"},
        {"title": ""},
        {"title": "x" * 201},
        {"title": None},
        {"author_id": 2**63},
        {"author_id": "one"},
        {"author_id": "1"},
        {"author_id": True},
        {"price": "-1"},
        {"price": "1e400"},
        {"price": "NaN"},
        {"price": "123456789.00"},
        {"price": "1.234"},
        {"published": "10000-01-01"},
        {"published": "9999-12-31"},
        {"published": "0001-01-01"},
        {"published": "0000-01-01"},
        {"colour": "red"},
    ],
)
async def test_a_value_that_does_not_fit_is_named(
    client: httpx.AsyncClient, author: Author, value: dict[str, Any]
) -> None:
    new = {"catalog": "LG-3", "title": "Planet of Exile", "author_id": author.id}
    response = await client.post("/v1/books", json=new | value)
    assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)
    assert response.json()["errors"][0]["loc"] == ["body", *value]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'{"catalog": NaN}', 422),
        (b'{"catalog": "\\ud800"}', 422),
        (b"[]", 422),
        (b"null", 422),
        (b"", 422),
        (b"\xff", 400),
        (b'{"a":' * 5000, (400, 422)),  # as far as this Python's parser gets
    ],
)
async def test_a_body_that_is_no_book_is_a_problem(
    client: httpx.AsyncClient, content: bytes, status: int | tuple[int, int]
) -> None:
    headers = {"content-type": "application/json"}
    response = await client.post("/v1/books", content=content, headers=headers)
    assert response.status_code in (status if isinstance(status, tuple) else (status,))
    assert response.headers["content-type"] == PROBLEM


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=1&limit=2",
        "offset=-1",
        "offset=many",
        "offset=9223372036854775808",
        "order_by=price",
        "price__le=NaN",
        "author_id__eq=99999999999999999999",
        "title__icontains=%00",
        "published__ge=yesterday",
        "published__ge=0001-01-01",
        "published__lt=9999-12-31",
        "colour=red",
    ],
)
async def test_a_query_that_is_not_declared_is_refused(
    client: httpx.AsyncClient, query: str
) -> None:
    response = await client.get(f"/v1/books?{query}")
    assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)


async def test_the_list_is_filtered_ordered_and_paged(
    client: httpx.AsyncClient, transaction: TransactionManager, author: Author
) -> None:
    titles = ["100% wool", "100 wools", "Wool", "wool_2"]
    for number, title in enumerate(titles):
        await Book.insert(transaction, catalog=f"W{number}", title=title, author_id=author.id)
    first = (await client.get("/v1/books?title__icontains=wool&order_by=-id&limit=3")).json()
    assert [book["title"] for book in first["results"]] == ["wool_2", "Wool", "100 wools"]
    assert (first["total_count"], first["prev_url"]) == (4, None)
    second = (await client.get(first["next_url"])).json()
    assert [book["title"] for book in second["results"]] == ["100% wool"]
    assert (second["total_count"], second["next_url"]) == (4, None)
    assert (await client.get(second["prev_url"])).json()["results"] == first["results"]
    literal = (await client.get("/v1/books", params={"title__icontains": "0% w"})).json()
    assert [book["title"] for book in literal["results"]] == ["100% wool"]
    uncounted = (await client.get("/v1/books?count=none")).json()
    assert uncounted["total_count"] is None
