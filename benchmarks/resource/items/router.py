"""The routes of `/v1/items`."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from ..db import ReadTransaction, Transaction
from ..db.paging import Page
from ..problems import Problem, responses
from .schemas import Item, ItemCreate, ItemQuery

reads = APIRouter(prefix="/items", tags=["items"], responses=responses(422, 503))
writes = APIRouter(prefix="/items", tags=["items"], responses=responses(400, 409, 422, 503))

ItemId = Annotated[int, Path(le=2**63 - 1)]


@reads.get("")
async def list_items(
    query: Annotated[ItemQuery, Query()], tx: ReadTransaction, request: Request
) -> Page[Item]:
    """Items that match every filter."""
    return await Item.page(tx, query, request.url)


@reads.get("/{item_id:int}", responses=responses(404))
async def get_item(item_id: ItemId, tx: ReadTransaction) -> Item:
    """One item."""
    item = await Item.get_by_pk(tx, item_id)
    if item is None:
        raise Problem(404, f"There is no item {item_id}.")
    return item


@writes.post("", status_code=201)
async def create_item(new: ItemCreate, tx: Transaction) -> Item:
    """Add an item."""
    return await Item.insert(tx, new)
