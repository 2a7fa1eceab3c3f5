"""FastAPI on SQLAlchemy's ORM, the way of s3rius/FastAPI-template.

An async session per request from a dependency, models with `from_attributes`. The template's
dependency commits after the response is sent; here it commits before, as every system has to.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from pydantic import BaseModel, ConfigDict
from sqlalchemy import BigInteger, DateTime, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from .shared import DATABASE_URL, POOL_SIZE, links


class Base(DeclarativeBase):
    """The declarative base."""


class ItemModel(Base):
    """The table."""

    __tablename__ = "item"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    code: Mapped[UUID]
    name: Mapped[str]
    quantity: Mapped[int]
    weight: Mapped[float]
    category: Mapped[int]
    active: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


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
    model_config = ConfigDict(from_attributes=True)


class ItemPage(BaseModel):
    """Some rows and the way to others."""

    results: list[Item]
    total_count: int | None
    next_url: str | None
    prev_url: str | None
    model_config = ConfigDict(from_attributes=True)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Hold the engine."""
    url = DATABASE_URL.replace("postgresql:", "postgresql+asyncpg:")
    engine = create_async_engine(url, pool_size=POOL_SIZE, max_overflow=0)
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    """One session, and with it one transaction, per request."""
    async with request.app.state.sessions() as session:
        yield session
        await session.commit()


Session = Annotated[AsyncSession, Depends(get_session, scope="function")]


@app.get("/v1/items", response_model=ItemPage)
async def list_items(
    request: Request,
    session: Session,
    category__eq: int,
    quantity__ge: int,
    order_by: Literal["-id"],
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0)] = 0,
    count: Literal["exact", "none"] = "exact",
) -> Any:
    """A page of the items of a category."""
    found = select(ItemModel).where(
        ItemModel.category == category__eq, ItemModel.quantity >= quantity__ge
    )
    total = None
    page = found.order_by(ItemModel.id.desc()).limit(limit + 1).offset(offset)
    rows = (await session.scalars(page)).all()
    if count == "exact":
        counted = found.with_only_columns(func.count(), maintain_column_froms=True)
        total = await session.scalar(counted)
    url = request.url
    around = links(url.path, url.query, limit, offset, len(rows) > limit, total)
    return {"results": rows[:limit], "total_count": total, **around}


@app.get("/v1/items/{item_id}", response_model=Item)
async def get_item(item_id: int, session: Session) -> Any:
    """One item."""
    item = await session.get(ItemModel, item_id)
    if item is None:
        raise HTTPException(404)
    return item


@app.post("/v1/items", status_code=201, response_model=Item)
async def create_item(new: ItemCreate, session: Session) -> Any:
    """Add an item; flush is what fetches its key, by RETURNING."""
    item = ItemModel(**new.model_dump())
    session.add(item)
    await session.flush()
    return item
