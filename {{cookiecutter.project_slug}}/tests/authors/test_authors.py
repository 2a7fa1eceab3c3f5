"""The resource /v1/authors: rows of a statement of its own."""

from datetime import UTC, datetime

import httpx
from dalkit import TransactionManager
from sqlalchemy import insert

from {{ cookiecutter.__package_name }}.authors import Author


async def test_authors_are_listed_with_the_number_of_their_books(
    client: httpx.AsyncClient, transaction: TransactionManager
) -> None:
    prolific = await Author.insert(transaction, name="Prolific")
    await Author.insert(transaction, name="Silent")
    book = transaction.get_table("book")
    for number, deleted_at in enumerate([None, None, datetime.now(UTC)]):
        new = {"catalog": str(number), "title": "x", "author_id": prolific.id}
        await transaction.execute(insert(book).values(new | {"deleted_at": deleted_at}))
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
