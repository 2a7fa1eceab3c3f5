"""`GET /v1/library/export`."""

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import func

from dalkit import TransactionManager

TITLE = 'a "quoted",\nback\\slash\ttitle é'
PATH = "/v1/library/export"


@pytest.fixture
async def books(transaction: TransactionManager) -> int:
    """Two books and a deleted one; the id of their author."""
    author, book = transaction.get_table("author"), transaction.get_table("book")
    author_id = await transaction.fetch_value(
        author.insert().values(name="Le Guin").returning(author.c.id)
    )
    for values in (
        {"catalog": "a", "title": TITLE},
        {"catalog": "b", "title": "B", "price": 1.5},
        {"catalog": "c", "title": "C", "deleted_at": func.now()},
    ):
        await transaction.execute(book.insert().values(author_id=author_id, **values))
    return int(author_id)


async def test_books_are_exported_as_csv(client: httpx.AsyncClient, books: int) -> None:
    answer = await client.get(PATH)
    quoted = TITLE.replace('"', '""')
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="books.csv"'
    header, rest = answer.text.split("\n", 1)
    assert header == "catalog,title,author_id,published,price"
    assert rest == f'a,"{quoted}",{books},,\nb,B,{books},,1.50\n'


async def test_books_are_exported_as_json_lines(client: httpx.AsyncClient, books: int) -> None:
    answer = await client.get(PATH, params={"format": "jsonl"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["content-disposition"] == 'attachment; filename="books.jsonl"'
    lines = [json.loads(line) for line in answer.text.split("\n")[:-1]]
    nothing: dict[str, Any] = {"author_id": books, "published": None}
    assert lines == [
        {"catalog": "a", "title": TITLE, "price": None} | nothing,
        {"catalog": "b", "title": "B", "price": 1.5} | nothing,
    ]


@pytest.mark.usefixtures("books")
@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
async def test_a_download_can_be_uploaded(
    client: httpx.AsyncClient, transaction: TransactionManager, file_format: str
) -> None:
    first = await client.get(PATH, params={"format": file_format})
    await transaction.execute(transaction.get_table("book").delete())
    headers = {"content-type": first.headers["content-type"]}
    counts = await client.post("/v1/library/bulk", content=first.content, headers=headers)
    assert counts.json() == {"copied": 2, "inserted": 2, "updated": 0, "skipped": 0}
    assert (await client.get(PATH, params={"format": file_format})).content == first.content


async def test_no_books_are_a_header(client: httpx.AsyncClient) -> None:
    answer = await client.get(PATH)
    assert (answer.status_code, answer.text.count("\n")) == (200, 1)
    answer = await client.get(PATH, params={"format": "jsonl"})
    assert (answer.status_code, answer.text) == (200, "")


@pytest.mark.parametrize("query", ["format=xml", "format=", "formt=csv"])
async def test_other_parameters_are_a_422(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"{PATH}?{query}")).status_code == 422
