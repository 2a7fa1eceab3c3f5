"""Conditional requests: ETags in headers, and routes of entities with keys of all kinds."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from pydantic import MISSING
from sqlalchemy import select, update

from dalkit import TransactionManager
from dalkit.types import Body, Id, Int32, Text
from dalkit.web import problem_handlers
from dalkit.web.conditional import ConditionalRead, ConditionalWrite, Created, names

from tests.entities.models import Edition, Leaf, Note, Part

EDITION = "/books/1/editions/2"


class EditionPatch(Body):
    """What may be changed."""

    title: Text | MISSING = MISSING


class NoteBody(Body):
    """What may be written."""

    body: Text | MISSING | None = MISSING


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ('"b" ,W/"a"', True),
        ('"a" ,', True),
        ('"a", ,\t', True),
        (', ,"b",, "a"', True),
        (" * ", True),
        ('"b"', False),
        ('"b,"', False),
        ("a", False),
        ('"a" "b"', False),
        ('w/"a"', False),
        ("", False),
        (" , ,", False),
    ],
)
def test_if_none_match_compares_weakly(header: str, found: bool) -> None:
    assert names(header, '"a"', strongly=False) is found


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('"a"', True),
        ('"b", "a"', True),
        ("*", True),
        (',"a", ,', True),
        (",", False),
        ('W/"a"', False),
        ('"b"', False),
        ("a", False),
        ("", False),
    ],
)
def test_if_match_compares_strongly(header: str, found: bool) -> None:
    assert names(header, '"a"', strongly=True) is found


def test_a_comma_in_a_tag_does_not_end_it() -> None:
    assert names('"x", "a,b"', '"a,b"', strongly=False)


@pytest.fixture
def resources(tx: TransactionManager) -> FastAPI:
    """Routes in one transaction."""
    app = FastAPI(exception_handlers=problem_handlers)

    @app.get("/books/{book_id}/editions/{number}")
    async def get_edition(book_id: Id, number: Int32, conditional: ConditionalRead) -> Edition:
        return conditional.tagged(await Edition.get_or_404(tx, book_id, number))

    @app.post("/books/{book_id}/editions/{number}", status_code=201)
    async def create_edition(book_id: Id, number: Int32, created: Created) -> Edition:
        made = await Edition.insert(tx, book_id=book_id, number=number, title="x")
        return created.at("get_edition", made, book_id=book_id, number=number)

    @app.patch("/books/{book_id}/editions/{number}")
    async def change_edition(
        book_id: Id, number: Int32, patch: EditionPatch, conditional: ConditionalWrite
    ) -> Edition:
        return await conditional.update(tx, Edition, (book_id, number), patch)

    @app.delete("/books/{book_id}/editions/{number}", status_code=204)
    async def delete_edition(book_id: Id, number: Int32, conditional: ConditionalWrite) -> None:
        await conditional.delete(tx, Edition, (book_id, number))

    @app.get("/notes/{name}")
    async def get_note(name: Text, conditional: ConditionalRead) -> Note:
        return conditional.tagged(await Note.get_or_404(tx, name))

    @app.post("/notes", status_code=201)
    async def create_note(name: Text, created: Created) -> Note:
        return created.at("get_note", await Note.insert(tx, name=name), name=name)

    @app.patch("/notes/{name}")
    async def change_note(name: Text, patch: NoteBody, conditional: ConditionalWrite) -> Note:
        return await conditional.update(tx, Note, name, patch)

    @app.delete("/notes/{name}", status_code=204)
    async def delete_note(name: Text, conditional: ConditionalWrite) -> None:
        await conditional.delete(tx, Note, name)

    @app.get("/leaves/{leaf_id}")
    async def get_leaf(leaf_id: UUID, conditional: ConditionalRead) -> Leaf:
        return conditional.tagged(await Leaf.get_or_404(tx, leaf_id))

    @app.patch("/leaves/{leaf_id}")
    async def change_leaf(leaf_id: UUID, patch: NoteBody, conditional: ConditionalWrite) -> Leaf:
        return await conditional.update(tx, Leaf, leaf_id, patch)

    @app.get("/parts/{part_id}")
    async def get_part(part_id: Int32, conditional: ConditionalRead) -> Part:
        return conditional.tagged(await Part.get_or_404(tx, part_id))

    @app.patch("/parts/{part_id}")
    async def change_part(part_id: Int32, conditional: ConditionalWrite) -> Part:
        return await conditional.update(tx, Part, part_id, {"value": "new"})

    return app


@pytest.fixture
async def http(resources: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of them."""
    transport = httpx.ASGITransport(resources)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as it:
        yield it


async def test_a_composite_key_goes_through_all_methods(
    http: httpx.AsyncClient, tx: TransactionManager
) -> None:
    created = await http.post(EDITION)
    assert (created.status_code, created.headers["location"]) == (201, EDITION)
    etag = created.headers["etag"]
    assert (await http.get(EDITION)).headers["etag"] == etag
    unchanged = await http.get(EDITION, headers={"if-none-match": f"W/{etag}"})
    assert (unchanged.status_code, unchanged.headers["etag"]) == (304, etag)
    assert (await http.patch(EDITION, json={"title": "y"})).status_code == 428
    changed = await http.patch(EDITION, json={"title": "y"}, headers={"if-match": etag})
    assert (changed.status_code, changed.json()["title"]) == (200, "y")
    assert changed.json()["updated_at"] is not None
    assert changed.headers["etag"] not in ("", etag)
    for request in (
        http.patch(EDITION, json={"title": "z"}, headers={"if-match": etag}),
        http.delete(EDITION, headers={"if-match": etag}),
        http.delete(EDITION, headers={"if-match": f"W/{changed.headers['etag']}"}),
    ):
        assert (await request).status_code == 412
    assert (await http.delete(EDITION)).status_code == 204
    assert (await http.get(EDITION)).status_code == 410
    kept = await tx.fetch_one(select(tx.get_table("lab.edition")))
    assert kept is not None
    assert kept["deleted_at"] is not None
    assert f'"{kept["etag"]}"' != changed.headers["etag"]


async def test_an_empty_patch_keeps_the_version(http: httpx.AsyncClient) -> None:
    etag = (await http.post(EDITION)).headers["etag"]
    same = await http.patch(EDITION, json={}, headers={"if-match": etag})
    assert (same.status_code, same.headers["etag"]) == (200, etag)
    assert same.json()["updated_at"] is None


async def test_a_number_counts_and_a_row_without_deleted_at_is_deleted(
    http: httpx.AsyncClient, tx: TransactionManager
) -> None:
    created = await http.post("/notes", params={"name": "a b/?#ü%"})
    place = created.headers["location"]
    assert (place, created.headers["etag"]) == ("/notes/a%20b%2F%3F%23%C3%BC%25", '"1"')
    await Note.insert(tx, name="n")
    changed = await http.patch("/notes/n", json={"body": None}, headers={"if-match": '"0", "1"'})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert (await http.delete("/notes/n", headers={"if-match": '"1"'})).status_code == 412
    assert (await http.delete("/notes/n", headers={"if-match": '"2"'})).status_code == 204
    assert (await http.delete("/notes/n")).status_code == 404


async def test_an_etag_that_postgresql_computes_is_left_to_it(
    http: httpx.AsyncClient, tx: TransactionManager
) -> None:
    leaf = await Leaf.insert(tx, body="ä")
    etag = (await http.get(f"/leaves/{leaf.id}")).headers["etag"]
    assert etag == '"%22%C3%A4%20%25"'
    for body, if_match in (("b", etag), ("c", '"%22b%20%25"')):
        sent: dict[str, Any] = {"json": {"body": body}, "headers": {"if-match": if_match}}
        assert (await http.patch(f"/leaves/{leaf.id}", **sent)).status_code == 200


async def test_nothing_is_assumed_of_an_entity_without_an_etag(
    http: httpx.AsyncClient, tx: TransactionManager
) -> None:
    await Part.insert(tx, id=1)
    found = await http.get("/parts/1", headers={"if-none-match": '"None"'})
    assert (found.status_code, "etag" in found.headers) == (200, False)
    changed = await http.patch("/parts/1")
    assert (changed.json(), "etag" in changed.headers) == ({"id": 1, "value": "new"}, False)
    assert (await http.patch("/parts/1", headers={"if-match": "*"})).status_code == 200
    assert (await http.patch("/parts/1", headers={"if-match": '"None"'})).status_code == 412


async def test_what_changes_while_it_is_written_is_refused(
    tx: TransactionManager, resources: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another transaction's change is seen by the statement that writes."""
    note = tx.get_table("lab.note")
    await Note.insert(tx, name="n")
    seen = Note.get_or_404.__func__  # type: ignore[attr-defined]

    async def then_changed(cls: type[Note], tx: TransactionManager, *pk: object) -> Note:
        found: Note = await seen(cls, tx, *pk)
        await tx.execute(update(note).values(version=7))
        return found

    monkeypatch.setattr(Note, "get_or_404", classmethod(then_changed))
    transport = httpx.ASGITransport(resources)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
        sent: dict[str, Any] = {"headers": {"if-match": '"1"'}}
        assert (await http.patch("/notes/n", json={"body": "x"}, **sent)).status_code == 412
        await tx.execute(update(note).values(version=1))
        assert (await http.delete("/notes/n", **sent)).status_code == 412
        assert (
            await http.patch("/notes/n", json={"body": "x"}, headers={"if-match": "*"})
        ).is_success


async def test_a_location_has_the_root_path_and_no_host(resources: FastAPI) -> None:
    outer = FastAPI()
    outer.mount("/api", resources)
    for app, root, prefix in ((resources, "/proxied", "/proxied"), (outer, "", "/api")):
        transport = httpx.ASGITransport(app, root_path=root)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
            path = f"{prefix}/notes?name={prefix[1:]}"
            created = await http.post(path, headers={"host": "evil.example"})
        assert created.headers["location"] == f"{prefix}/notes/{prefix[1:]}"


@pytest.mark.parametrize(
    "key",
    [
        "9" * 5_000,
        "a" * 10_000,
        "%00",
        "a%00b",
        "%ED%A0%80",
        "%FF",
        "%F0%9F%98%80",
        "-1",
        "9223372036854775808",
        "NaN",
    ],
)
@pytest.mark.parametrize("path", ["/books/{}/editions/1", "/notes/{}", "/leaves/{}", "/parts/{}"])
async def test_a_key_that_no_row_can_have_is_not_found_or_refused(
    http: httpx.AsyncClient, path: str, key: str
) -> None:
    for method in ("GET", "PATCH"):
        response = await http.request(method, path.format(key), json={})
        assert response.status_code in (404, 422)
        assert response.headers["content-type"] == "application/problem+json"


async def test_the_headers_are_documented(resources: FastAPI) -> None:
    document = resources.openapi()["paths"]["/notes/{name}"]
    headers = {
        method: [p["name"] for p in operation["parameters"] if p["in"] == "header"]
        for method, operation in document.items()
    }
    assert headers == {"get": ["if-none-match"], "patch": ["if-match"], "delete": ["if-match"]}
