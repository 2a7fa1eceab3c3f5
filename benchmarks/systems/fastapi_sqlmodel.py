"""FastAPI on SQLModel and synchronous psycopg, the way of full-stack-fastapi-template.

`def` handlers, which FastAPI runs in threads, and a session per request from a dependency.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from sqlalchemy import BigInteger, DateTime
from sqlmodel import Field, Session, SQLModel, col, create_engine, func, select

from .shared import DATABASE_URL, POOL_SIZE, links


class ItemBase(SQLModel):
    """What is written."""

    code: UUID
    name: str
    quantity: int
    weight: float
    category: int
    active: bool
    created_at: datetime = Field(sa_type=DateTime(timezone=True))


class ItemCreate(ItemBase):
    """A new item."""


class Item(ItemBase, table=True):
    """The table."""

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)


class ItemPublic(ItemBase):
    """A row."""

    id: int


class ItemsPublic(SQLModel):
    """Some rows and the way to others."""

    results: list[ItemPublic]
    total_count: int | None
    next_url: str | None
    prev_url: str | None


url = DATABASE_URL.replace("postgresql:", "postgresql+psycopg:") or "postgresql+psycopg:///"
engine = create_engine(url, pool_size=POOL_SIZE, max_overflow=0)
app = FastAPI()


def get_db() -> Iterator[Session]:
    """One session per request."""
    with Session(engine) as session:
        yield session


SessionDep = Annotated[Session, Depends(get_db)]


@app.get("/v1/items", response_model=ItemsPublic)
def list_items(
    request: Request,
    session: SessionDep,
    category__eq: int,
    quantity__ge: int,
    order_by: Literal["-id"],
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0)] = 0,
    count: Literal["exact", "none"] = "exact",
) -> Any:
    """A page of the items of a category."""
    filters = col(Item.category) == category__eq, col(Item.quantity) >= quantity__ge
    total = None
    page = select(Item).where(*filters).order_by(col(Item.id).desc())
    rows = session.exec(page.limit(limit + 1).offset(offset)).all()
    if count == "exact":
        total = session.exec(select(func.count()).select_from(Item).where(*filters)).one()
    address = request.url
    around = links(address.path, address.query, limit, offset, len(rows) > limit, total)
    return {"results": rows[:limit], "total_count": total, **around}


@app.get("/v1/items/{item_id}", response_model=ItemPublic)
def get_item(item_id: int, session: SessionDep) -> Any:
    """One item."""
    item = session.get(Item, item_id)
    if item is None:
        raise HTTPException(404)
    return item


@app.post("/v1/items", status_code=201, response_model=ItemPublic)
def create_item(new: ItemCreate, session: SessionDep) -> Any:
    """Add an item; commit, then read it again, as the template does."""
    item = Item.model_validate(new)
    session.add(item)
    session.commit()
    session.refresh(item)
    return item
