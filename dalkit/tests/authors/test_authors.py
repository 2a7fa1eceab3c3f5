"""Rows of a custom statement as a resource."""

import httpx

from dalkit import TransactionManager

from tests.service.authors import Author
from tests.service.books import Book


async def test_authors_are_listed_with_the_number_of_their_books(
    client: httpx.AsyncClient, transaction: TransactionManager
) -> None:
    prolific = await Author.insert(transaction, name="Prolific")
    await Author.insert(transaction, name="Silent")
    for number in range(3):
        book = await Book.insert(transaction, catalog=str(number), title="x", author_id=prolific.id)
    deleted = await client.delete(f"/v1/books/{book.id}")
    assert deleted.status_code == 204
    listed = (await client.get("/v1/authors?order_by=-number_of_books")).json()
    assert [(a["name"], a["number_of_books"]) for a in listed["results"]] == [
        ("Prolific", 2),
        ("Silent", 0),
    ]
    assert listed["total_count"] == 2
    some = (await client.get("/v1/authors?number_of_books__ge=1&name__icontains=PRO")).json()
    assert [author["name"] for author in some["results"]] == ["Prolific"]


async def test_an_author_is_created_once(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/authors", json={"name": "Only"})).status_code == 201
    again = await client.post("/v1/authors", json={"name": "Only"})
    assert again.status_code == 409
    assert again.json()["errors"][0]["loc"] == ["body", "name"]
