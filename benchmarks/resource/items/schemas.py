"""What an item looks like: as a row, as a request and as a query."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from ..db.entities import Entity
from ..db.paging import QueryModel
from ..db.types import Filter, Float, Int32, Text, Timestamp


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
