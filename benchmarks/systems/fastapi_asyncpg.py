"""FastAPI on raw asyncpg: SQL by hand, pydantic models for what comes in and goes out.

The pool is asyncpg's as it comes, so it resets a connection whenever it is given back.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import asyncpg
from fastapi import FastAPI, HTTPException, Query, Request
from pydantic import BaseModel

from .shared import (
    DATABASE_URL,
    INSERT,
    POOL_SIZE,
    SELECT_COUNT,
    SELECT_ONE,
    SELECT_PAGE,
    SLEEP,
    links,
)


class ItemCreate(BaseModel):
    """A new item."""

    code: UUID
    name: str
    quantity: int
    weight: float
    category: int
    active: bool
    created_at: datetime


class Item(ItemCreate):
    """A row."""

    id: int


class ItemPage(BaseModel):
    """Some rows and the way to others."""

    results: list[Item]
    total_count: int | None
    next_url: str | None
    prev_url: str | None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Hold the pool."""
    sizes = {"min_size": POOL_SIZE, "max_size": POOL_SIZE}
    async with asyncpg.create_pool(DATABASE_URL, **sizes) as app.state.pool:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/v1/items")
async def list_items(
    request: Request,
    category__eq: int,
    quantity__ge: int,
    order_by: Literal["-id"],
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0)] = 0,
    count: Literal["exact", "none"] = "exact",
) -> ItemPage:
    """A page of the items of a category."""
    total = None
    async with request.app.state.pool.acquire() as connection:
        filters = category__eq, quantity__ge
        rows = await connection.fetch(SELECT_PAGE, *filters, limit + 1, offset)
        if count == "exact":
            total = await connection.fetchval(SELECT_COUNT, *filters)
    url = request.url
    around = links(url.path, url.query, limit, offset, len(rows) > limit, total)
    results = [Item(**row) for row in rows[:limit]]
    return ItemPage(results=results, total_count=total, **around)


@app.get("/v1/items/{item_id}")
async def get_item(item_id: int, request: Request) -> Item:
    """One item."""
    row = await request.app.state.pool.fetchrow(SELECT_ONE, item_id)
    if row is None:
        raise HTTPException(404)
    return Item(**row)


@app.post("/v1/items", status_code=201)
async def create_item(new: ItemCreate, request: Request) -> Item:
    """Add an item."""
    values: dict[str, Any] = new.model_dump()
    async with request.app.state.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(INSERT, *values.values())
    return Item(**row)


@app.get("/v1/slow")
async def sleep(request: Request) -> str:
    """A statement that takes a while."""
    return str(await request.app.state.pool.fetchval(SLEEP))
