"""Which requests run again after a collision, how often, and on which server."""

from collections import Counter
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI, Request

from dalkit import (
    DataAccessLayer,
    ReadTransaction,
    SerializableTransaction,
    Transaction,
    TransactionMiddleware,
)
from dalkit.data.engine import create_engine
from dalkit.web import problem_handlers

ATTEMPTS = 3
#: The errors that PostgreSQL reports when it picks a transaction as a victim.
COLLISION = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{}'; END $$"
SERVED_BY = sa.text("SELECT current_setting('application_name')")


def create_colliding_app(dal: DataAccessLayer) -> tuple[FastAPI, Counter[str]]:
    """An application whose routes collide, and how often each of them has run."""
    app = FastAPI(exception_handlers=problem_handlers)
    runs = Counter[str]()

    async def collide(tx: Transaction, request: Request) -> int:
        runs[request.url.path] += 1
        if runs[request.url.path] <= int(request.query_params["times"]):
            await tx.execute(sa.text(COLLISION.format(request.query_params["sqlstate"])))
        return runs[request.url.path]

    @app.post("/marked")
    async def marked(tx: SerializableTransaction, request: Request) -> int:
        return await collide(tx, request)

    @app.post("/unmarked")
    async def unmarked(tx: Transaction, request: Request) -> int:
        return await collide(tx, request)

    @app.get("/safe")
    async def safe(tx: ReadTransaction, request: Request) -> int:
        return await collide(tx, request)

    @app.get("/served-by")
    async def served_by(tx: ReadTransaction) -> Any:
        return await tx.fetch_value(SERVED_BY)

    @app.post("/served-by")
    async def served_by_writer(reader: ReadTransaction, tx: Transaction) -> Any:
        return await reader.fetch_value(SERVED_BY)

    app.add_middleware(TransactionMiddleware, dal=dal, attempts=ATTEMPTS)
    return app, runs


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
@pytest.mark.parametrize(
    ("method", "path", "times", "status", "runs"),
    [
        ("POST", "/marked", 2, 200, 3),
        ("POST", "/marked", 99, 503, ATTEMPTS),
        ("GET", "/safe", 2, 200, 3),
        ("POST", "/unmarked", 1, 503, 1),
    ],
)
async def test_a_collision_is_tried_again_so_often_and_then_answered_with_503(
    db: DataAccessLayer,
    sqlstate: str,
    method: str,
    path: str,
    times: int,
    status: int,
    runs: int,
) -> None:
    app, counted = create_colliding_app(db)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        query: dict[str, str | int] = {"times": times, "sqlstate": sqlstate}
        response = await client.request(method, path, params=query)
    assert (response.status_code, counted[path]) == (status, runs)
    assert response.headers.get("retry-after") == (None if status == 200 else "1")


@pytest.mark.parametrize(("method", "server"), [("GET", "replica"), ("POST", "primary")])
async def test_only_a_request_that_only_reads_is_served_by_the_replica(
    engine_uri: str, method: str, server: str
) -> None:
    dal = DataAccessLayer()
    engines = [create_engine(engine_uri, application_name=name) for name in ("primary", "replica")]
    dal.use(engines[0], replica=engines[1])
    app, _ = create_colliding_app(dal)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        assert (await client.request(method, "/served-by")).json() == server
    for engine in engines:
        await engine.dispose()
