"""An application with a route for each way in which a request can end."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, BackgroundTasks, FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

from dalkit import DataAccessLayer, ReadTransaction, SerializableTransaction, Transaction
from dalkit.settings import Settings, load
from dalkit.web.problems import Problem

from tests.service.app import create_app

TABLES = """
DROP TABLE IF EXISTS part, thing;
CREATE TABLE thing (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
CREATE TABLE part (thing_id int REFERENCES thing DEFERRABLE INITIALLY DEFERRED);
"""
routes = APIRouter()


class Strict(BaseModel):
    """A response that a wrong value does not fit."""

    n: int


def insert(tx: Transaction, number: int) -> sa.Insert:
    """The statement that adds a thing."""
    return sa.insert(tx.get_table("thing")).values(id=number)


@routes.post("/things/{number}", status_code=201)
async def create(number: int, tx: Transaction) -> dict[str, int]:
    """Succeed."""
    await tx.execute(insert(tx, number))
    return {"id": number}


@routes.post("/slow/{number}", status_code=201)
async def create_slowly(number: int, tx: Transaction) -> dict[str, int]:
    """Succeed after half a second."""
    await tx.execute(insert(tx, number))
    await asyncio.sleep(0.5)
    return {"id": number}


@routes.post("/deferred", status_code=201)
async def violate_deferred(tx: Transaction) -> dict[str, int]:
    """Break a constraint that is checked at COMMIT."""
    await tx.execute(sa.insert(tx.get_table("part")).values(thing_id=404))
    return {}


@routes.post("/returned/{number}")
async def return_conflict(number: int, tx: Transaction) -> JSONResponse:
    """Write, then return a response of 409."""
    await tx.execute(insert(tx, number))
    return JSONResponse({}, 409)


@routes.post("/raised/{number}")
async def raise_problem(number: int, tx: Transaction) -> None:
    """Write, then raise an expected error."""
    await tx.execute(insert(tx, number))
    raise Problem(418)


@routes.post("/crashed/{number}")
async def crash(number: int, tx: Transaction) -> None:
    """Write, then raise an unexpected error."""
    await tx.execute(insert(tx, number))
    raise ArithmeticError


@routes.post("/invalid/{number}")
async def answer_wrongly(number: int, tx: Transaction) -> Strict:
    """Write, then return what the response model refuses."""
    await tx.execute(insert(tx, number))
    wrong: Any = {"n": "many"}
    return Strict.model_construct(**wrong)


@routes.post("/swallowed/{number}", status_code=201)
async def swallow(number: int, tx: Transaction) -> dict[str, int]:
    """Write twice and swallow the error of the second time."""
    await tx.execute(insert(tx, number))
    try:
        await tx.execute(insert(tx, number))
    except sa.exc.IntegrityError:
        pass
    return {}


@routes.post("/background/{number}", status_code=201)
async def follow_up(
    number: int, tx: Transaction, tasks: BackgroundTasks, request: Request
) -> dict[str, int]:
    """Leave a task that writes what it sees of the request's row; a large number breaks COMMIT."""
    await tx.execute(insert(tx, number))
    if number >= 1000:
        await tx.execute(sa.insert(tx.get_table("part")).values(thing_id=404))
    tasks.add_task(count_things, request.state.dal, number)
    return {}


async def count_things(dal: DataAccessLayer, number: int) -> None:
    """Write the number of things that are committed."""
    async with dal.transaction() as tx:
        things = tx.get_table("thing")
        count = await tx.fetch_value(sa.select(sa.func.count()).where(things.c.id == number))
        await tx.execute(sa.insert(things).values(id=-number, n=count))


@routes.post("/late/{number}", status_code=201)
async def use_late(number: int, tx: Transaction, tasks: BackgroundTasks) -> dict[str, int]:
    """Use the request's transaction after the response."""
    tasks.add_task(tx.execute, insert(tx, number))
    return {}


@routes.post("/ended", status_code=201)
async def end_by_hand(tx: Transaction, how: str) -> dict[str, int]:
    """Try to decide the transaction in the handler."""
    await getattr(await tx.connection(), how)()
    return {}


@routes.post("/decided", status_code=201)
async def decide_by_hand(tx: Transaction, how: str) -> dict[str, int]:
    """Try to decide the transaction in the handler."""
    await getattr(tx, how)()
    return {}


@routes.get("/numbers")
async def stream_numbers(tx: ReadTransaction, count: int) -> StreamingResponse:
    """Stream rows from the database."""
    statement = sa.select(sa.func.generate_series(1, count).label("n"))
    return StreamingResponse(_lines(tx.stream(statement)), media_type="application/jsonl")


@routes.get("/pages")
async def stream_pages(tx: ReadTransaction, count: int) -> StreamingResponse:
    """Stream rows of 100 KB, which fill the buffers of a client that does not read."""
    statement = sa.select(sa.literal("x" * 100_000).label("text"))
    many = statement.select_from(sa.func.generate_series(1, count).alias())
    return StreamingResponse(_lines(tx.stream(many, batch_size=5)))


async def _lines(rows: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    async for row in rows:
        yield json.dumps(row) + "\n"


@routes.post("/read-only/{number}")
async def write_while_reading(number: int, tx: ReadTransaction) -> dict[str, int]:
    """Write through a transaction that was asked for reading."""
    await tx.execute(insert(tx, number))
    return {}


class Increment(BaseModel):
    """How much to add, and ballast that must arrive each time the request runs."""

    by: int
    ballast: str


@routes.post("/increment")
async def increment(
    body: Increment, tx: SerializableTransaction, tasks: BackgroundTasks, request: Request
) -> dict[str, int]:
    """Read, think and write: what only SERIALIZABLE makes safe."""
    things = tx.get_table("thing")
    n = await tx.fetch_value(sa.select(things.c.n).where(things.c.id == 1))
    await asyncio.sleep(0)
    await tx.execute(sa.update(things).where(things.c.id == 1).values(n=n + body.by))
    tasks.add_task(request.app.state.done.append, len(body.ballast))
    return {"n": n + body.by}


@routes.get("/idle")
async def do_nothing(tx: Transaction, request: Request) -> dict[str, int]:
    """Never use the transaction; tell how many connections are taken."""
    return {"taken": request.state.dal.engine.sync_engine.pool.checkedout()}


@routes.websocket("/socket")
async def socket(websocket: WebSocket, tx: Transaction) -> None:
    """Ask for a request's transaction where there is no request."""
    await websocket.accept()


def create_test_app(settings: Settings | None = None) -> FastAPI:
    """The service with these routes; also a factory for uvicorn."""
    app = create_app(settings or load(Settings))
    app.state.done = []
    app.include_router(routes)
    return app
