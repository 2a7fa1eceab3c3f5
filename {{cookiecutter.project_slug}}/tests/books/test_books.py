"""The resource /v1/books, as a client sees it."""

from typing import Any

import httpx
import pytest
from dalkit import TransactionManager
from sqlalchemy import text

from {{ cookiecutter.__package_name }}.books import Book

PROBLEM = "application/problem+json"


@pytest.fixture
async def author_id(transaction: TransactionManager) -> int:
    """The id of an author to write books."""
    sql = text("INSERT INTO author (name) VALUES ('Ursula K. Le Guin') RETURNING id")
    return int(await transaction.fetch_value(sql))


@pytest.fixture
async def book(transaction: TransactionManager, author_id: int) -> Book:
    """A book that is there."""
    return await Book.insert(
        transaction, catalog="LG-1", title="The Dispossessed", author_id=author_id, price="9.90"
    )


def tag(book: Book) -> str:
    """The book's ETag."""
    return f'"{book.etag}"'


async def test_a_new_book_is_found_at_its_location(
    client: httpx.AsyncClient, author_id: int
) -> None:
    new = {"catalog": "LG-2", "title": "The Word for World Is Forest", "author_id": author_id}
    created = await client.post("/v1/books", json=new)
    assert created.status_code == 201
    found = await client.get(created.headers["location"])
    assert found.json() == created.json()
    assert found.headers["etag"] == created.headers["etag"]
    assert {name: found.json()[name] for name in new} == new


async def test_a_book_is_shown_without_what_is_internal(
    client: httpx.AsyncClient, book: Book
) -> None:
    response = await client.get(f"/v1/books/{book.id}")
    assert (response.status_code, response.headers["etag"]) == (200, tag(book))
    assert response.json()["price"] == "9.90"
    assert not {"etag", "deleted_at"} & response.json().keys()


async def test_an_unchanged_book_is_not_sent_again(client: httpx.AsyncClient, book: Book) -> None:
    response = await client.get(f"/v1/books/{book.id}", headers={"if-none-match": tag(book)})
    assert (response.status_code, response.content) == (304, b"")


async def test_a_patch_changes_what_it_names_and_the_etag(
    client: httpx.AsyncClient, book: Book
) -> None:
    response = await client.patch(
        f"/v1/books/{book.id}", json={"price": None}, headers={"if-match": tag(book)}
    )
    assert (response.status_code, response.json()["price"]) == (200, None)
    assert response.json()["title"] == book.title
    assert response.headers["etag"] != tag(book)


@pytest.mark.parametrize(("if_match", "status"), [(None, 428), ('"stale"', 412), ("*", 200)])
async def test_a_patch_needs_the_etag_of_what_it_changes(
    client: httpx.AsyncClient, book: Book, if_match: str | None, status: int
) -> None:
    headers = {} if if_match is None else {"if-match": if_match}
    response = await client.patch(f"/v1/books/{book.id}", json={"title": "x"}, headers=headers)
    assert response.status_code == status


async def test_a_deleted_book_is_gone_and_not_listed(client: httpx.AsyncClient, book: Book) -> None:
    assert (await client.delete(f"/v1/books/{book.id}")).status_code == 204
    response = await client.get(f"/v1/books/{book.id}")
    assert (response.status_code, response.headers["content-type"]) == (410, PROBLEM)
    assert (await client.get("/v1/books")).json()["total_count"] == 0


async def test_a_missing_book_is_a_problem(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/books/12345")
    assert (response.status_code, response.headers["content-type"]) == (404, PROBLEM)
    assert response.json()["request_id"] == response.headers["x-request-id"]


async def test_a_taken_catalog_number_is_a_conflict_and_the_next_request_works(
    client: httpx.AsyncClient, book: Book, author_id: int
) -> None:
    new = {"catalog": book.catalog, "title": "Another", "author_id": author_id}
    response = await client.post("/v1/books", json=new)
    assert response.status_code == 409
    assert [error["loc"] for error in response.json()["errors"]] == [["body", "catalog"]]
    assert (await client.post("/v1/books", json=new | {"catalog": "free"})).status_code == 201


@pytest.mark.parametrize(
    "value",
    [
        {"title": ""},
        {"title": None},
        {"author_id": "one"},
        {"price": "-1"},
        {"published": "10000-01-01"},
        {"colour": "red"},
    ],
)
async def test_a_value_that_does_not_fit_is_named(
    client: httpx.AsyncClient, author_id: int, value: dict[str, Any]
) -> None:
    new = {"catalog": "LG-3", "title": "Planet of Exile", "author_id": author_id}
    response = await client.post("/v1/books", json=new | value)
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", *value]


async def test_the_list_is_filtered_ordered_and_paged(
    client: httpx.AsyncClient, transaction: TransactionManager, author_id: int
) -> None:
    for number, title in enumerate(["100% wool", "Wool", "Silk", "wool_2"]):
        await Book.insert(transaction, catalog=f"W{number}", title=title, author_id=author_id)
    first = (await client.get("/v1/books?title__icontains=wool&order_by=-id&limit=2")).json()
    assert [book["title"] for book in first["results"]] == ["wool_2", "Wool"]
    assert first["total_count"] == 3
    second = (await client.get(first["next_url"])).json()
    assert [book["title"] for book in second["results"]] == ["100% wool"]
    assert second["next_url"] is None
