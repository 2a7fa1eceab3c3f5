"""The resource that the benchmarks ask for, as a developer writes it."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from dalkit import ReadTransaction, Transaction
from dalkit.entities import Entity
from dalkit.paging import Page, QueryModel
from dalkit.types import Filter, Float, Id, Int32, Text, Timestamp
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict


class Item(Entity, table="item"):
    """A row of the table `item`."""

    id: int
    code: UUID
    name: str
    quantity: int
    weight: float
    category: int
    active: bool
    created_at: datetime


class ItemCreate(BaseModel):
    """A new item."""

    model_config = ConfigDict(extra="forbid")

    code: UUID
    name: Text
    quantity: Int32
    weight: Float
    category: Int32
    active: bool
    created_at: Timestamp


class ItemQuery(QueryModel, entity=Item):
    """The parameters of the list of items."""

    category__eq: Filter[Int32] = None
    quantity__ge: Filter[Int32] = None
    order_by: Literal["id", "-id", "name", "-name"] = "id"


ENTITIES = (Item, ItemQuery)
router = APIRouter(prefix="/items", tags=["items"])


@router.get("")
async def list_items(
    query: Annotated[ItemQuery, Query()], tx: ReadTransaction, request: Request
) -> Page[Item]:
    """Items that match every filter."""
    return await Item.page(tx, query, request)


@router.get("/{item_id}")
async def get_item(item_id: Id, tx: ReadTransaction) -> Item:
    """One item."""
    return await Item.get_or_404(tx, item_id)


@router.post("", status_code=201)
async def create_item(new: ItemCreate, tx: Transaction) -> Item:
    """Add an item."""
    return await Item.insert(tx, new)
