"""The service as it is generated, with the resource `items` written for the ORM's session."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from dalkit import Problem
from dalkit.orm import Base, ReadSession, Session
from dalkit.types import Id
from fastapi import APIRouter, Query, Request
from my_service.main import app
from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select

from ..items import ItemCreate
from .shared import links


class ItemModel(Base.reflected):
    """A row of the table `item`."""

    __tablename__ = "item"


class Item(BaseModel):
    """A row, as it is answered."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    code: UUID
    name: str
    quantity: int
    weight: float
    category: int
    active: bool
    created_at: datetime


class ItemPage(BaseModel):
    """Some rows and the way to others."""

    model_config = ConfigDict(from_attributes=True)

    results: list[Item]
    total_count: int | None
    next_url: str | None
    prev_url: str | None


router = APIRouter(prefix="/v1/items", tags=["items"])


@router.get("", response_model=ItemPage)
async def list_items(
    request: Request,
    session: ReadSession,
    category__eq: int,
    quantity__ge: int,
    order_by: Literal["-id"],
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0)] = 0,
    count: Literal["exact", "none"] = "exact",
) -> Any:
    """A page of the items of a category."""
    model: Any = ItemModel
    found = select(model).where(model.category == category__eq, model.quantity >= quantity__ge)
    total = None
    page = found.order_by(model.id.desc()).limit(limit + 1).offset(offset)
    rows = (await session.scalars(page)).all()
    if count == "exact":
        counted = found.with_only_columns(func.count(), maintain_column_froms=True)
        total = await session.scalar(counted)
    url = request.url
    around = links(url.path, url.query, limit, offset, len(rows) > limit, total)
    return {"results": rows[:limit], "total_count": total, **around}


@router.get("/{item_id}", response_model=Item)
async def get_item(item_id: Id, session: ReadSession) -> Any:
    """One item."""
    item = await ItemModel.get_by_pk(session, item_id)
    if item is None:
        raise Problem(404)
    return item


@router.post("", status_code=201, response_model=Item)
async def create_item(new: ItemCreate, session: Session) -> Any:
    """Add an item; flush is what fetches its key, by RETURNING."""
    item = ItemModel(**new.model_dump())
    session.add(item)
    await session.flush()
    return item


app.include_router(router)
