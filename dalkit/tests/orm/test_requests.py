"""The session of a request: one transaction with Core, decided before the response begins."""

import asyncio

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import func, select, text
from starlette.requests import HTTPConnection

from dalkit import DataAccessLayer, Settings
from dalkit.web.request import request_session

from tests.orm.models import Novel, Writer, routes
from tests.service.app import create_app
from tests.serving import Cutter, serving

LEM = {"name": "Lem"}


async def count(shelf: DataAccessLayer) -> int:
    """How many writers are committed."""
    async with shelf.session() as session:
        return (await session.scalars(select(func.count()).select_from(Writer))).one()


async def test_a_row_is_answered_as_the_database_has_it(
    orm_client: httpx.AsyncClient, shelf: DataAccessLayer
) -> None:
    response = await orm_client.post("/orm/writers", json=LEM)
    assert response.status_code == 201
    body = response.json()
    assert (body["name"], body["country"]) == ("Lem", "PL")
    assert body["created_at"] == body["updated_at"]
    assert body["created_at"].endswith(("Z", "+00:00"))
    assert await count(shelf) == 1


async def test_a_request_that_never_uses_its_session_takes_no_connection(
    orm_client: httpx.AsyncClient,
) -> None:
    assert (await orm_client.get("/orm/idle")).json() == 0


@pytest.mark.parametrize("path", ["/orm/writers", "/orm/pending"])
async def test_what_a_flush_raises_is_answered_as_any_database_error(
    orm_client: httpx.AsyncClient, shelf: DataAccessLayer, path: str
) -> None:
    """Also what only the flush before COMMIT raises; its connection goes back to the pool."""
    assert (await orm_client.post(path, json=LEM)).status_code == 201
    response = await orm_client.post(path, json=LEM)
    assert response.status_code == 409
    assert response.json()["errors"][0]["loc"] == ["body", "name"]
    assert await count(shelf) == 1
    assert shelf.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_what_commit_raises_is_answered_too(
    orm_client: httpx.AsyncClient, shelf: DataAccessLayer
) -> None:
    response = await orm_client.post("/orm/deferred")
    assert (response.status_code, response.json()["errors"][0]["type"]) == (409, "foreign_key")


@pytest.mark.parametrize(("status", "written"), [(201, 2), (409, 0), (500, 0)])
async def test_core_and_orm_are_one_transaction(
    orm_client: httpx.AsyncClient, shelf: DataAccessLayer, status: int, written: int
) -> None:
    """Each sees what the other has written; both are committed or rolled back."""
    response = await orm_client.post("/orm/both", json=LEM, params={"status": status})
    assert response.json() == [1, 1, True]
    assert response.status_code == status
    assert await count(shelf) == written


@pytest.mark.parametrize("path", ["/orm/swallowed", "/orm/spoilt"])
async def test_a_swallowed_error_of_a_flush_saves_nothing_and_is_a_500(
    orm_client: httpx.AsyncClient, shelf: DataAccessLayer, path: str
) -> None:
    assert (await orm_client.post(path, json=LEM)).status_code == 500
    assert await count(shelf) == 0


async def test_a_part_can_be_undone(orm_client: httpx.AsyncClient, shelf: DataAccessLayer) -> None:
    response = await orm_client.post("/orm/nested", json=LEM)
    assert (response.status_code, response.json()) == (201, 1)
    assert await count(shelf) == 1


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("commit", "return a response below 400"),
        ("sync_commit", "return a response below 400"),
        ("rollback", "return a response of 400 or above"),
        ("sync_rollback", "return a response of 400 or above"),
        ("close", "it ends with that by itself"),
        ("sync_close", "it ends with that by itself"),
        ("reset", "it ends with that by itself"),
        ("invalidate", "it ends with that by itself"),
        ("begin", "use begin_nested"),
    ],
)
async def test_a_handler_does_not_decide(
    orm_app: FastAPI, orm_client: httpx.AsyncClient, how: str, words: str
) -> None:
    transport = httpx.ASGITransport(orm_client._transport.app)  # type: ignore[attr-defined]
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        with pytest.raises((RuntimeError, sa.exc.InvalidRequestError), match=words):
            await client.post("/orm/ended", params={"how": how})


async def test_a_read_session_does_not_write(
    orm_client: httpx.AsyncClient, shelf: DataAccessLayer
) -> None:
    assert (await orm_client.post("/orm/read-only", json=LEM)).status_code == 500
    assert await count(shelf) == 0


async def test_one_session_is_for_all_dependencies_and_writes_when_one_does(
    orm_client: httpx.AsyncClient, shelf: DataAccessLayer
) -> None:
    for _ in range(2):
        response = await orm_client.post("/orm/after-reading")
        assert (response.status_code, response.json()) == (201, True)
    assert await count(shelf) == 1


async def test_a_response_leaves_after_commit(orm_app: FastAPI, shelf: DataAccessLayer) -> None:
    """On a real socket, with a database that takes its time to commit."""
    url = shelf.engine.url
    cutter = Cutter(str(url.host), url.port or 5432)
    async with cutter.listening() as port:
        slow = Settings(
            _env_file=None,
            environment="testing",
            database_url=SecretStr(
                url.set(host="127.0.0.1", port=port, drivername="postgresql").render_as_string(
                    hide_password=False
                )
            ),
        )
        app = create_app(slow)
        app.include_router(routes)
        async with serving(app) as address, httpx.AsyncClient(base_url=address) as client:
            cutter.delay = 0.2
            assert (await client.post("/orm/pending", json=LEM)).status_code == 201
            assert await count(shelf) == 1
            cutter.delay, cutter.cuts = 0, True
            assert (await client.post("/orm/pending", json={"name": "Dick"})).status_code == 503
    assert cutter.seen >= 2


async def test_a_graph_is_answered_by_a_pydantic_model(
    orm_client: httpx.AsyncClient, shelf: DataAccessLayer
) -> None:
    async with shelf.session() as session:
        session.add(Writer(name="Lem", novels=[Novel(title="Solaris", year=1961)]))
    response = await orm_client.get("/orm/read/Lem")
    assert response.json()["novels"] == [{"title": "Solaris"}]


async def test_a_lazy_load_while_the_response_is_made_tells_what_to_do(
    orm_app: FastAPI, orm_client: httpx.AsyncClient
) -> None:
    await orm_client.post("/orm/writers", json=LEM)
    transport = httpx.ASGITransport(orm_client._transport.app)  # type: ignore[attr-defined]
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        with pytest.raises(Exception, match="awaitable_attrs") as raised:
            await client.get("/orm/lazy/Lem")
    assert "novels" in str(raised.value)


async def test_rows_are_streamed_until_the_last_byte(
    orm_client: httpx.AsyncClient, shelf: DataAccessLayer
) -> None:
    names = [f"writer {number}" for number in range(7)]
    async with shelf.session() as session:
        session.add_all(Writer(name=name) for name in names)
    response = await orm_client.get("/orm/names")
    assert response.text.splitlines() == names
    assert shelf.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_a_request_that_collides_runs_again_with_another_session(
    orm_app: FastAPI, orm_client: httpx.AsyncClient, shelf: DataAccessLayer
) -> None:
    await orm_client.post("/orm/writers", json=LEM)
    calls = [orm_client.post("/orm/increment/Lem") for _ in range(8)]
    assert {response.status_code for response in await asyncio.gather(*calls)} == {200}
    async with shelf.session() as session:
        assert (await Writer.get_one(session, name="Lem")).rank == 7 + 8
    assert len(set(map(id, orm_app.state.sessions))) == len(orm_app.state.sessions) > 8


async def test_objects_outlive_the_commit_and_the_session_says_that_it_is_over(
    orm_app: FastAPI, orm_client: httpx.AsyncClient
) -> None:
    assert (await orm_client.post("/orm/background", json=LEM)).status_code == 201
    (name, key), over = orm_app.state.seen
    assert (name, key > 0) == ("Lem", True)
    assert "The request's transaction is over" in over


async def test_a_request_that_is_cancelled_gives_its_connection_back(
    orm_client: httpx.AsyncClient, shelf: DataAccessLayer
) -> None:
    request = asyncio.create_task(orm_client.post("/orm/slow/30"))
    async with shelf.session() as session:
        sleeping = text(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE query LIKE 'SELECT pg_sleep%' AND datname = current_database()"
        )
        while await session.scalar(sleeping) == 0:
            await session.commit()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert shelf.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert await count(shelf) == 0


async def test_a_websocket_has_no_session_of_a_request() -> None:
    with pytest.raises(RuntimeError, match=r"dal\.session\(\)"):
        await request_session(HTTPConnection({"type": "websocket"}))


def test_the_document_tells_the_errors_of_what_uses_a_session(orm_app: FastAPI) -> None:
    operation = orm_app.openapi()["paths"]["/orm/writers"]["post"]
    assert {"409", "422"} <= operation["responses"].keys()
