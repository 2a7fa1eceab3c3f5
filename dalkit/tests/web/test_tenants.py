"""The guide "Tenants and audit": its SQL and its `context_of`, through every way to the data."""

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.middleware import Middleware
from fastapi.responses import StreamingResponse
from sqlalchemy import URL, make_url
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import ASGIApp, Receive, Scope, Send

from dalkit import (
    DataAccessLayer,
    Entity,
    Problem,
    ReadTransaction,
    Transaction,
    TransactionMiddleware,
)
from dalkit.auth import User
from dalkit.bulk import ExportResponse, export, insert_from, load
from dalkit.web import RequestIdMiddleware, problem_handlers

from tests.docs.pages import DOCS, blocks_of
from tests.web.apps import calling

pytestmark = pytest.mark.superuser("makes a role that owns nothing")
BLOCKS = list(blocks_of(DOCS / "tenants-and-audit.md"))
AUDIT = "SELECT changed_by, request, relation, operation, before, after FROM audit ORDER BY id"


class Note(Entity, table="note"):
    """A row of one tenant."""

    id: int
    tenant: str
    text: str


class Member(User):
    """Somebody of a tenant."""

    tenant: str


class NamedMiddleware:
    """Takes the user from a header, where AuthMiddleware would ask the token."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = dict(scope["headers"]).get(b"x-user", b"").decode()
        sub, _, tenant = name.partition("@")
        user = Member(sub=sub, scopes=frozenset(), tenant=tenant) if name else None
        scope["state"] = {**(scope.get("state") or {}), "user": user}
        await self.app(scope, receive, send)


def context_of() -> Any:
    """The function of the guide."""
    [block] = [block for block in BLOCKS if block.title == "context.py"]
    names: dict[str, Any] = {}
    exec(block.compiled(), names)
    return names["context_of"]


@pytest.fixture
async def owner(
    committed_database: str, superuser_url: URL | None, worker_id: str
) -> AsyncIterator[asyncpg.Connection]:
    """The owner of the guide's tables, which are there for a role `service_...`."""
    assert superuser_url is not None
    role = f"service_{worker_id}"
    database = make_url(committed_database).database
    there = superuser_url.set(drivername="postgresql", database=database)
    administrator = await asyncpg.connect(there.render_as_string(hide_password=False))
    conn = await asyncpg.connect(committed_database)
    drop = "DROP TABLE IF EXISTS note, audit; DROP FUNCTION IF EXISTS write_audit"
    try:
        await administrator.execute(f"CREATE ROLE {role} LOGIN")
        await conn.execute(drop)
        for block in BLOCKS:
            if block.language == "sql":
                await conn.execute(block.text.replace("TO service;", f"TO {role};"))
        yield conn
    finally:
        await conn.execute(drop)
        await administrator.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await conn.close()
        await administrator.close()


@pytest.fixture
async def dal(
    owner: asyncpg.Connection, committed_database: str, worker_id: str
) -> AsyncIterator[DataAccessLayer]:
    """The tables as the service sees them, on one connection that everybody gets in turn."""
    url = make_url(committed_database).set(username=f"service_{worker_id}")
    async with DataAccessLayer.connect(url, pool_size=1) as it:
        for tenant, text in {"red": "one", "blue": "two"}.items():
            async with it.transaction(context={"app.tenant": tenant, "app.user": "seed"}) as tx:
                await Note.insert(tx, text=text)
        yield it


@pytest.fixture
async def client(dal: DataAccessLayer) -> AsyncIterator[httpx.AsyncClient]:
    """An application with the guide's hook."""
    app = FastAPI(
        middleware=[
            Middleware(RequestIdMiddleware),
            Middleware(NamedMiddleware),
            Middleware(TransactionMiddleware, dal=dal, context=context_of()),
        ],
        exception_handlers=problem_handlers,
    )

    @app.get("/notes")
    async def notes(tx: ReadTransaction) -> list[str]:
        rows = await tx.fetch_all(sa.select(tx.get_table("note").c.text))
        return [row["text"] for row in rows]

    @app.get("/export")
    async def download(tx: ReadTransaction) -> StreamingResponse:
        return ExportResponse(tx, sa.select(tx.get_table("note").c.text), filename="notes")

    @app.get("/stream")
    async def stream(tx: ReadTransaction) -> StreamingResponse:
        rows = tx.stream(sa.select(tx.get_table("note").c.text))
        return StreamingResponse((row["text"] async for row in rows), media_type="text/plain")

    @app.post("/notes", status_code=201)
    async def add(text: str, tx: Transaction) -> Note:
        return await Note.insert(tx, text=text)

    @app.patch("/notes")
    async def change(text: str, tx: Transaction) -> int:
        note = tx.get_table("note")
        return len(await tx.fetch_all(sa.update(note).values(text=text).returning(note.c.id)))

    @app.delete("/notes")
    async def delete(tx: Transaction) -> None:
        await tx.execute(sa.delete(tx.get_table("note")))

    @app.get("/broken")
    async def broken(tx: Transaction) -> None:
        await tx.execute(sa.text("SELECT 1 / 0"))

    async with calling(app) as it:
        yield it


def as_(name: str, **headers: str) -> dict[str, Any]:
    """The arguments of a request of somebody."""
    return {"headers": {"x-user": name, **headers}}


async def test_a_request_sees_its_tenants_rows_and_without_a_tenant_none(
    client: httpx.AsyncClient, owner: asyncpg.Connection
) -> None:
    assert await owner.fetchval("SELECT count(*) FROM note") == 0  # the owner, too
    for _ in range(2):  # the second time the connection has served tenants
        assert (await client.get("/notes")).json() == []
        assert (await client.get("/notes", **as_("ada@red"))).json() == ["one"]
        assert (await client.get("/notes", **as_("bob@blue"))).json() == ["two"]
        assert (await client.get("/notes", **as_("eve@' OR '1'='1"))).json() == []


@pytest.mark.parametrize(("path", "head"), [("/export", "text\n"), ("/stream", "")])
async def test_an_export_and_a_stream_have_the_tenants_rows_only(
    client: httpx.AsyncClient, path: str, head: str
) -> None:
    assert (await client.get(path)).text == head
    assert (await client.get(path, **as_("ada@red"))).text.rstrip("\n") == f"{head}one"


async def test_a_request_writes_for_its_tenant_only(
    client: httpx.AsyncClient, owner: asyncpg.Connection
) -> None:
    added = await client.post("/notes?text=three", **as_("ada@red"))
    assert added.json()["tenant"] == "red"
    assert (await client.post("/notes?text=four")).status_code == 500
    assert (await client.patch("/notes?text=five", **as_("bob@blue"))).json() == 1
    assert (await client.delete("/notes", **as_("eve@none"))).status_code == 200
    assert sorted((await client.get("/notes", **as_("ada@red"))).json()) == ["one", "three"]


async def test_after_an_error_the_next_request_has_no_tenant(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await client.get("/broken", **as_("ada@red"))
        assert (await client.get("/notes")).json() == []


@asynccontextmanager
async def of_red(dal: DataAccessLayer) -> AsyncIterator[Any]:
    """A transaction of one tenant, undone afterwards."""
    async with dal.transaction(with_commit=False, context={"app.tenant": "red"}) as tx:
        yield tx


async def test_entities_sessions_and_savepoints_are_held_to_the_tenant(
    dal: DataAccessLayer,
) -> None:
    note = dal.get_table("note")
    async with of_red(dal) as tx:
        async with AsyncSession(await tx.connection()) as session:
            assert (await session.scalars(sa.select(note.c.text))).all() == ["one"]
        mine = await Note.get_one(tx, text="one")
        assert mine is not None
        assert await Note.get_one(tx, text="two") is None
        assert await Note.get_by_pk(tx, mine.id + 1) is None
        assert await Note.update(tx, mine.id + 1, {"text": "stolen"}) is None
        assert not await Note.delete(tx, mine.id + 1)
        with pytest.raises(sa.exc.ProgrammingError, match="row-level security"):
            async with tx.savepoint():
                await Note.insert(tx, text="smuggled", tenant="blue")
        assert await tx.fetch_all(sa.select(note.c.text)) == [{"text": "one"}]


async def test_bulk_loads_for_the_tenant_only(dal: DataAccessLayer) -> None:
    note = dal.get_table("note")
    for tenant, error in {"red": None, "blue": "row-level security"}.items():
        async with of_red(dal) as tx:
            source = io.BytesIO(f"tenant,text\n{tenant},loaded\n".encode())
            names = ("tenant", "text")
            loading = load(
                tx, source, lambda staging: insert_from(staging, note), like=note, names=names
            )
            if error:
                with pytest.raises(sa.exc.ProgrammingError, match=error):
                    await loading
                continue
            await loading
            target = io.BytesIO()
            await export(tx, sa.select(note.c.text).order_by(note.c.id), target)
            assert target.getvalue() == b"text\none\nloaded\n"


async def test_the_audit_tells_who_what_before_and_after(
    client: httpx.AsyncClient, dal: DataAccessLayer, owner: asyncpg.Connection
) -> None:
    await owner.execute("TRUNCATE audit")
    id_ = (await client.post("/notes?text=a", **as_("cy@green", **{"x-request-id": "r1"}))).json()
    row = {"id": id_["id"], "tenant": "green", "text": "a"}
    await client.patch("/notes?text=b", **as_("di@green", **{"x-request-id": "r2"}))
    await client.get("/broken", **as_("di@green"))
    await client.delete("/notes", **as_("'; --@green", **{"x-request-id": "r3"}))
    await owner.set_type_codec("jsonb", encoder=str, decoder=json.loads, schema="pg_catalog")
    changed = {**row, "text": "b"}
    assert [tuple(line) for line in await owner.fetch(AUDIT)] == [
        ("cy", "r1", "public.note", "INSERT", None, row),
        ("di", "r2", "public.note", "UPDATE", row, changed),
        ("'; --", "r3", "public.note", "DELETE", changed, None),
    ]
    async with dal.transaction() as tx:
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            await tx.execute(sa.text("DELETE FROM audit"))
        await tx.rollback()


async def test_what_the_hook_raises_ends_the_request_and_takes_no_connection(
    dal: DataAccessLayer,
) -> None:
    def refuse(request: object) -> dict[str, str | None]:
        raise Problem(403, "No tenant.")

    app = FastAPI(
        middleware=[Middleware(TransactionMiddleware, dal=dal, context=refuse)],
        exception_handlers=problem_handlers,
    )

    @app.get("/")
    async def read(tx: ReadTransaction) -> int:
        return len(await tx.fetch_all(sa.select(tx.get_table("note"))))

    async with calling(app) as http:
        assert (await http.get("/")).status_code == 403
    assert dal.engine.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined]
