"""The resource /v1/authors: rows of a statement of its own."""

import httpx
from dalkit import TransactionManager

from {{ cookiecutter.__package_name }}.authors import Author
from {{ cookiecutter.__package_name }}.books import Book


async def test_authors_are_listed_with_the_number_of_their_books(
    client: httpx.AsyncClient, transaction: TransactionManager
) -> None:
    prolific = await Author.insert(transaction, name="Prolific")
    await Author.insert(transaction, name="Silent")
    for number in range(3):
        book = await Book.insert(transaction, catalog=str(number), title="x", author_id=prolific.id)
    assert (await client.delete(f"/v1/books/{book.id}")).status_code == 204
    listed = (await client.get("/v1/authors?order_by=-number_of_books")).json()
    counted = [(author["name"], author["number_of_books"]) for author in listed["results"]]
    assert counted == [("Prolific", 2), ("Silent", 0)]
    some = (await client.get("/v1/authors?number_of_books__ge=1&name__icontains=PRO")).json()
    assert [author["name"] for author in some["results"]] == ["Prolific"]


async def test_an_author_is_created_once(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/authors", json={"name": "Only"})).status_code == 201
    again = await client.post("/v1/authors", json={"name": "Only"})
    assert again.status_code == 409
    assert again.json()["errors"][0]["loc"] == ["body", "name"]
