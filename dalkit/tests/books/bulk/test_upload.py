"""`POST /v1/library/bulk`."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from dalkit import TransactionManager
from dalkit.bulk import FILE_CONTENT

CSV = {"content-type": "text/csv"}
JSON = {"content-type": "application/x-ndjson"}


@pytest.fixture
async def author_id(transaction: TransactionManager) -> Any:
    """An author whom books can be of."""
    author = transaction.get_table("author")
    statement = author.insert().values(name="Le Guin").returning(author.c.id)
    return await transaction.fetch_value(statement)


@pytest.fixture
def upload(client: httpx.AsyncClient) -> Any:
    """Send a file."""

    async def run(content: Any, headers: dict[str, str] = CSV) -> httpx.Response:
        return await client.post("/v1/library/bulk", content=content, headers=headers)

    return run


async def _titles(transaction: TransactionManager) -> list[str]:
    book = transaction.get_table("book")
    rows = await transaction.fetch_all(select(book.c.title).order_by(book.c.catalog))
    return [row["title"] for row in rows]


@pytest.mark.parametrize("media_type", FILE_CONTENT)
async def test_books_are_added_and_changed(
    upload: Any, transaction: TransactionManager, author_id: int, media_type: str
) -> None:
    def file(*books: tuple[str, str]) -> str:
        if media_type == "text/csv":
            lines = [f'{catalog},"{title}",{author_id}\n' for catalog, title in books]
            return "catalog,title,author_id\n" + "".join(lines)
        keys = '{"catalog": "%s", "title": "%s", "author_id": %d}\n'
        return "".join(keys % (catalog, title, author_id) for catalog, title in books)

    headers = {"content-type": f"{media_type}; charset=UTF-8"}
    first = await upload(file(("a", "One"), ("b", "Two")), headers)
    assert first.status_code == 200
    assert first.json() == {"copied": 2, "inserted": 2, "updated": 0, "skipped": 0}
    second = await upload(file(("b", "Two"), ("a", "1"), ("c", "3"), ("c", "Three")), headers)
    assert second.json() == {"copied": 4, "inserted": 1, "updated": 1, "skipped": 2}
    assert await _titles(transaction) == ["1", "Two", "Three"]


async def test_a_changed_book_has_a_new_etag(
    upload: Any, client: httpx.AsyncClient, author_id: int
) -> None:
    """What a client has seen before is stale; a book that stays as it is keeps its tag."""
    file = f"catalog,title,author_id\na,One,{author_id}\n"
    await upload(file)
    book = (await client.get("/v1/books")).json()["results"][0]["id"]
    before = (await client.get(f"/v1/books/{book}")).headers["etag"]
    await upload(file)
    assert (await client.get(f"/v1/books/{book}")).headers["etag"] == before
    await upload(file.replace("One", "Two"))
    assert (await client.get(f"/v1/books/{book}")).headers["etag"] != before


async def test_a_deleted_book_stays_deleted(
    upload: Any, client: httpx.AsyncClient, author_id: int
) -> None:
    await upload(f"catalog,title,author_id\na,One,{author_id}\n")
    book = (await client.get("/v1/books")).json()["results"][0]["id"]
    await client.delete(f"/v1/books/{book}")
    answer = await upload(f"catalog,title,author_id\na,Two,{author_id}\n")
    assert answer.json() == {"copied": 1, "inserted": 0, "updated": 0, "skipped": 1}
    assert (await client.get(f"/v1/books/{book}")).status_code == 410


@pytest.mark.parametrize(
    ("content", "headers", "row", "column"),
    [
        ("catalog,title,author_id,price\na,A,#,1\nb,B,#,s3cret\n", CSV, 3, "price"),
        ("catalog,title,author_id,price\na,A,#,-1\n", CSV, 2, "price"),
        ("catalog,title,author_id,price\na,A,#,0.005\n", CSV, 2, "price"),
        ("catalog,title,author_id,published\na,A,#,20000-01-01\n", CSV, 2, "published"),
        ("catalog,title,author_id,published\na,A,#,0044-03-15 BC\n", CSV, 2, "published"),
        ("catalog,title,author_id,published\na,A,#,9999-12-31\n", CSV, 2, "published"),
        ("catalog,title,author_id,published\na,A,#,infinity\n", CSV, 2, "published"),
        ("catalog,title,author_id,published\na,A,#,now\n", CSV, 2, "published"),
        ("catalog,title,author_id,published\na,A,#,01/02/2003\n", CSV, 2, "published"),
        ("catalog,title,author_id,published\na,A,#,2026-02-29\n", CSV, 2, "published"),
        ("catalog,title,author_id,published\na,A,#,2026-13-01\n", CSV, 2, "published"),
        ("catalog,title,author_id,published\na,A,#,2026-01-00\n", CSV, 2, "published"),
        ("catalog,title,author_id,published\na,A,#,0000-01-01\n", CSV, 2, "published"),
        ("catalog,title,author_id,published\na,A,#,0001-01-01\n", CSV, 2, "published"),
        ("catalog,title,author_id\na,,#\n", CSV, 2, "title"),
        ("catalog,title,author_id\na,A,0x1F\n", CSV, 2, "author_id"),
        ("catalog,title,author_id\na,A,#\nb,B,1_000\n", CSV, 3, "author_id"),
        ("catalog,title,author_id\na,A, #\n", CSV, 2, "author_id"),
        ("catalog,title,author_id\na,A,9223372036854775808\n", CSV, 2, "author_id"),
        ("catalog,title,author_id\na,A,\n", CSV, 2, "author_id"),
        ('{"catalog": "a", "title": "A", "author_id": "#"}', JSON, 1, "author_id"),
        ('{"catalog": "a", "title": "A", "author_id": 1.5}', JSON, 1, "author_id"),
        ('{"catalog": "a", "title": "A", "author_id": true}', JSON, 1, "author_id"),
        ("catalog,title,author_id\n" + "a" * 65 + ",A,#\n", CSV, 2, "catalog"),
        ("catalog,title,author_id,etag\na,A,#,x\n", CSV, 1, "etag"),
        ("catalog,title\na,A\n", CSV, 1, "author_id"),
        ("catalog,title,author_id\n", CSV, None, None),
        ("", CSV, None, None),
        ("", JSON, None, None),
        ('{"catalog": "a", "title": "\\u0000", "author_id": #}', JSON, 1, "title"),
        ('{"catalog": "a", "title": "A", "author_id": 99999999999999999999}', JSON, 1, "author_id"),
    ],
)
async def test_a_bad_file_is_a_422_that_names_row_and_column(
    upload: Any,
    transaction: TransactionManager,
    author_id: int,
    content: str,
    headers: dict[str, str],
    row: int | None,
    column: str | None,
) -> None:
    answer = await upload(content.replace("#", str(author_id)), headers)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem.get("row"), problem.get("column")) == (row, column)
    assert "s3cret" not in answer.text
    if row is not None:
        place = [part for part in (row, column) if part is not None]
        assert problem["errors"][0]["loc"] == ["body", *place]
    assert await _titles(transaction) == []


@pytest.mark.parametrize("published", ["0001-01-02", "2024-02-29", "9999-12-30"])
async def test_a_date_of_the_calendar_is_stored(
    upload: Any, client: httpx.AsyncClient, author_id: int, published: str
) -> None:
    await upload(f"catalog,title,author_id,published,price\na,A,{author_id},{published},1.5\n")
    book = (await client.get("/v1/books")).json()["results"][0]
    assert (book["published"], book["price"]) == (published, "1.50")


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("author_id", "0x1F", "Value error, use a number"),
        ("published", "2026-02-30", "Input should be a valid date"),
        ("published", "now", "Value error, use ISO 8601"),
        ("price", "1.005", "Decimal input should have no more than 2 decimal places"),
        ("catalog", '""', "String should have at least 1 character"),
    ],
)
async def test_what_is_refused_is_told_in_the_models_words(
    upload: Any, author_id: int, column: str, value: str, reason: str
) -> None:
    book = {"catalog": "a", "title": "A", "author_id": str(author_id)} | {column: value}
    answer = await upload(f"{','.join(book)}\n{','.join(book.values())}\n")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["msg"].startswith(reason)


async def test_an_unknown_author_is_a_409(
    upload: Any, transaction: TransactionManager, author_id: int
) -> None:
    """What the move finds wrong is answered as in any other request, and nothing is stored."""
    answer = await upload(f"catalog,title,author_id\na,A,{author_id}\nb,B,-1\n")
    assert answer.status_code == 409
    assert answer.json()["errors"][0]["loc"] == ["body", "author_id"]
    assert await _titles(transaction) == []


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "text/csv; charset=utf-16", "text/html"]
)
async def test_another_content_type_is_a_415(upload: Any, content_type: str) -> None:
    answer = await upload("catalog\n", {"content-type": content_type})
    assert answer.status_code == 415
    assert "text/csv" in answer.headers["accept-post"]


async def test_a_file_may_be_larger_than_other_bodies(
    upload: Any, transaction: TransactionManager, author_id: int
) -> None:
    """MAX_BODY_SIZE is 1 MiB."""

    async def file() -> AsyncIterator[bytes]:
        yield b"catalog,title,author_id\n"
        for number in range(20_000):
            yield b"%d,%b,%d\n" % (number, b"t" * 100, author_id)

    assert (await upload(file())).json()["inserted"] == 20_000
    book = transaction.get_table("book")
    assert await transaction.fetch_value(select(func.count()).select_from(book)) == 20_000
