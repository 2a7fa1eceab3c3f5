"""Two releases of a small service: N has book.catalog, and N+1 book.catalog_number."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Body, FastAPI
from fastapi.middleware import Middleware

from dalkit import Database, Entity, ReadTransaction, Transaction, TransactionMiddleware
from dalkit.settings import Settings, load
from dalkit.web import Shutdown, health_router

RELEASE = os.environ.get("RELEASE", "N")


class Book(Entity, table="book"):
    """A book of release N."""

    id: int
    title: str
    author_id: int
    catalog: str


class NewBook(Entity, table="book"):
    """A book of release N+1."""

    id: int
    title: str
    author_id: int
    catalog_number: str


def create(release: str) -> FastAPI:
    """Return the release; the variables of the settings and ALEMBIC_CONFIG say what it is given."""
    book: Any = Book if release == "N" else NewBook
    column = "catalog" if release == "N" else "catalog_number"
    settings = load(Settings)
    database = Database(settings, entities=[book])
    shutdown = Shutdown(settings.shutdown_delay)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with shutdown, database:
            yield {"dal": database.dal, "database": database, "shutdown": shutdown}

    transactions = Middleware(TransactionMiddleware, dal=database.dal)
    app = FastAPI(lifespan=lifespan, middleware=[transactions])
    app.include_router(health_router)

    def answer(row: Any) -> dict[str, Any]:
        return {"id": row.id, "number": getattr(row, column), "release": release}

    @app.post("/books")
    async def add(transaction: Transaction, number: Annotated[str, Body()]) -> dict[str, Any]:
        row = await book.insert(transaction, title="It", author_id=1, **{column: number})
        return answer(row)

    @app.put("/books/{id}")
    async def change(
        id: int, transaction: Transaction, number: Annotated[str, Body()]
    ) -> dict[str, Any]:
        return answer(await book.update(transaction, id, **{column: number}))

    @app.get("/books/{id}")
    async def show(id: int, transaction: ReadTransaction) -> dict[str, Any]:
        return answer(await book.get_by_pk(transaction, id))

    return app


app = create(RELEASE)
