"""Pages by offset, through FastAPI."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Query, Request
from sqlalchemy import func, select

from dalkit import TransactionManager
from dalkit.paging import Page, QueryModel, page
from dalkit.paging.pages import relative_reference, with_parameters
from dalkit.types import Filter, Int64, Text

from tests.entities.models import Author, Book, BookQuery, BooksByAuthor


class AuthorQuery(QueryModel):
    """A query of a custom statement."""

    name__icontains: Filter[Text] = None
    number_of_books__ge: Filter[Int64] = None
    tie_break = ("id",)


@pytest.fixture
def lists(tx: TransactionManager) -> FastAPI:
    """Two lists in one transaction."""
    app = FastAPI()

    @app.get("/v1/books")
    async def books(query: Annotated[BookQuery, Query()], request: Request) -> Page[Book]:
        return await Book.page(tx, query, request)

    @app.get("/authors")
    async def authors(
        query: Annotated[AuthorQuery, Query()], request: Request
    ) -> Page[BooksByAuthor]:
        author, book = tx.get_table("lab.author"), tx.get_table("lab.book")
        statement = (
            select(author.c.id, author.c.name, func.count(book.c.id).label("number_of_books"))
            .join_from(author, book, book.c.author_id == author.c.id, isouter=True)
            .group_by(author.c.id)
        )
        return await page(tx, BooksByAuthor, query, request, statement)

    return app


@pytest.fixture
async def browser(lists: FastAPI, tx: TransactionManager) -> AsyncIterator[httpx.AsyncClient]:
    """A browser, and seven books."""
    rows = [{"title": f"Book {number}", "author_id": number % 2} for number in range(7)]
    await Book.insert_many(tx, rows)
    outer = FastAPI()
    outer.mount("/api", lists)
    transport = httpx.ASGITransport(outer)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as it:
        yield it


def found(response: httpx.Response) -> list[str]:
    """The numbers in the titles."""
    assert response.status_code == 200, response.text
    return [book["title"].removeprefix("Book ") for book in response.json()["results"]]


async def test_next_and_prev_lead_through_all_pages(browser: httpx.AsyncClient) -> None:
    pages, url = [], "/api/v1/books?limit=3"
    while url:
        response = await browser.get(url)
        pages.append(found(response))
        assert response.json()["total_count"] == 7
        last, url = response, response.json()["next_url"]
    assert pages == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
    before = last.json()["prev_url"]
    assert before == "/api/v1/books?limit=3&offset=3"
    first = (await browser.get(before)).json()["prev_url"]
    assert first == "/api/v1/books?limit=3"
    assert (await browser.get(first)).json()["prev_url"] is None


async def test_links_keep_the_other_parameters_once(browser: httpx.AsyncClient) -> None:
    """The path has the mount's prefix; text stays as the client wrote it."""
    parameters = "title__contains=B%6Fok+%C3%BC%26&author_id__in=0&author_id__in=1&offset=1&limit=1"
    await browser.get(f"/api/v1/books?{parameters}")
    response = await browser.get(f"/api/v1/books?{parameters.replace('+%C3%BC%26', '')}")
    assert response.json()["next_url"] == (
        "/api/v1/books?title__contains=B%6Fok&author_id__in=0&author_id__in=1&limit=1&offset=2"
    )
    following = (await browser.get(response.json()["next_url"])).json()
    assert following["prev_url"].endswith(
        "?title__contains=B%6Fok&author_id__in=0&author_id__in=1&limit=1&offset=1"
    )


async def test_links_are_relative_whatever_host_is_asked_for(
    browser: httpx.AsyncClient, lists: FastAPI, tx: TransactionManager
) -> None:
    for host in ("evil.example", "evil.example/x?y#z", "[", ""):
        response = await browser.get("/api/v1/books?limit=1", headers={"host": host})
        assert response.json()["next_url"] == "/api/v1/books?limit=1&offset=1"


@pytest.mark.parametrize("path", ["/v1/books", "/proxied/v1/books"])
async def test_links_have_the_root_path_whether_or_not_the_proxy_took_it_off(
    lists: FastAPI, browser: httpx.AsyncClient, path: str
) -> None:
    assert browser is not None  # there are books
    transport = httpx.ASGITransport(lists, root_path="/proxied")
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as behind:
        response = await behind.get(f"{path}?limit=1")
    assert response.json()["next_url"] == "/proxied/v1/books?limit=1&offset=1"


@pytest.mark.parametrize(
    ("path", "expected"),
    [("//evil.example/x", "/%2Fevil.example/x?a=%FF"), ("/\\e?#", "/%5Ce%3F%23?a=%FF")],
)
def test_a_path_is_never_taken_for_a_host(path: str, expected: str) -> None:
    scope = {"type": "http", "path": path, "query_string": b"a=%FF", "headers": []}
    assert relative_reference(Request(scope)) == expected


@pytest.mark.parametrize(
    ("url", "parameters", "expected"),
    [
        ("/a?b=1&offset=2&c=", {"offset": 4}, "/a?b=1&c=&offset=4"),
        ("/a?offset=2", {"offset": None}, "/a"),
        ("/a?off%73et=2&&b", {"offset": 4}, "/a?b&offset=4"),
        ("/a?+o=2", {" o": None, "z": "1"}, "/a?z=1"),
        (
            "/a%20b?x=%FF&y=%26%C3%BC",
            {"z": "ü&"},
            "/a%20b?x=%FF&y=%26%C3%BC&z=%C3%BC%26",
        ),
    ],
)
def test_links_are_parsed_and_not_pasted(
    url: str, parameters: dict[str, str | int | None], expected: str
) -> None:
    assert with_parameters(url, parameters) == expected


async def test_the_total_is_right_past_the_last_page(browser: httpx.AsyncClient) -> None:
    response = await browser.get("/api/v1/books?offset=1000&limit=3&author_id__eq=1")
    body = response.json()
    assert (body["results"], body["total_count"], body["next_url"]) == ([], 3, None)
    assert body["prev_url"].endswith("?limit=3&author_id__eq=1")


async def test_the_total_can_be_declined(browser: httpx.AsyncClient) -> None:
    body = (await browser.get("/api/v1/books?count=none&limit=3")).json()
    assert body["total_count"] is None
    assert body["next_url"].endswith("?count=none&limit=3&offset=3")


@pytest.mark.parametrize(
    ("parameters", "at"),
    [
        ("nope=1", "nope"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=", "limit"),
        ("offset=-1", "offset"),
        ("offset=9223372036854775808", "offset"),
        ("limit=1&limit=2", "limit"),
        ("title__eq=a&title__eq=b", "title__eq"),
        ("order_by=price", "order_by"),
        ("order_by=id;drop table book", "order_by"),
        ("count=all", "count"),
        ("title__eq=a%00b", "title__eq"),
        ("author_id__eq=9223372036854775808", "author_id__eq"),
        ("author_id__in=1&author_id__in=x", "author_id__in"),
        ("published__ge=0", "published__ge"),
        ("published__ge=2026-02-30", "published__ge"),
        ("price__eq=NaN", "price__eq"),
        ("price__eq=1e400", "price__eq"),
        ("price__eq=1.234", "price__eq"),
    ],
)
async def test_bad_parameters_are_422_and_named(
    browser: httpx.AsyncClient, parameters: str, at: str
) -> None:
    response = await browser.get(f"/api/v1/books?{parameters}")
    assert response.status_code == 422
    assert {error["loc"][1] for error in response.json()["detail"]} == {at}


async def test_every_filter_is_a_documented_parameter(lists: FastAPI) -> None:
    operation = lists.openapi()["paths"]["/v1/books"]["get"]
    parameters: dict[str, Any] = {item["name"]: item for item in operation["parameters"]}
    assert set(parameters) == set(BookQuery.model_fields)
    assert not any(item["required"] for item in parameters.values())
    schema = parameters["author_id__in"]["schema"]
    assert (schema["type"], schema["items"]["maximum"]) == ("array", 2**63 - 1)
    assert parameters["title__icontains"]["description"] == "title contains this in any case"
    assert "'null'" not in str(operation["parameters"])
    assert parameters["order_by"]["schema"]["enum"][0] == "id"


async def test_a_custom_statement_is_filtered_and_paged(
    browser: httpx.AsyncClient, tx: TransactionManager
) -> None:
    await tx.execute(tx.get_table("lab.book").delete())
    author = await Author.insert(tx, name="Lem", country="PL")
    await Author.insert(tx, name="Lime", country="US")
    await Book.insert_many(tx, [{"title": "x", "author_id": author.id}] * 2)
    body = (await browser.get("/api/authors?name__icontains=L&number_of_books__ge=1")).json()
    assert body["results"] == [{"id": author.id, "name": "Lem", "number_of_books": 2}]
    body = (await browser.get("/api/authors?limit=1")).json()
    assert body["total_count"] == 2
    assert body["next_url"] == "/api/authors?limit=1&offset=1"


async def test_a_page_may_have_a_further_condition(tx: TransactionManager) -> None:
    await Book.insert_many(tx, [{"title": "a", "author_id": 1}, {"title": "b", "author_id": 2}])
    table = tx.get_table("lab.book")
    for where in ({"author_id": 2}, table.c.author_id == 2):
        only = await Book.page(tx, BookQuery(), "http://h/", where)
        assert ([book.title for book in only.results], only.total_count) == (["b"], 1)
