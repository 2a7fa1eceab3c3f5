"""The routes of the generated service on SQLAlchemy's ORM: what `startup` compares it with.

The models have the constraints of the service's, the statements are the ORM's; there are no tokens,
ETags, limits or logs of requests.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import BigInteger, DateTime, ForeignKey, Numeric, Text, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from .shared import DATABASE_URL, POOL_SIZE, links


class Base(DeclarativeBase):
    """The declarative base."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        str: Text,
        int: BigInteger,
    }


class AuthorModel(Base):
    """The table `author`."""

    __tablename__ = "author"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    books: Mapped[list["BookModel"]] = relationship(back_populates="author")


class BookModel(Base):
    """The table `book`."""

    __tablename__ = "book"

    id: Mapped[int] = mapped_column(primary_key=True)
    catalog: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    published: Mapped[date | None]
    price: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    etag: Mapped[UUID] = mapped_column(server_default=func.gen_random_uuid())
    deleted_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    author: Mapped[AuthorModel] = relationship(back_populates="books")


Catalog = Annotated[str, Field(min_length=1, max_length=64)]
Title = Annotated[str, Field(min_length=1, max_length=200)]
Price = Annotated[Decimal, Field(max_digits=10, decimal_places=2, ge=0)]
Limit = Annotated[int, Query(ge=1, le=100)]
Offset = Annotated[int, Query(ge=0)]


class BookCreate(BaseModel):
    """A new book."""

    catalog: Catalog
    title: Title
    author_id: int
    published: date | None = None
    price: Price | None = None


class BookPatch(BaseModel):
    """The fields to change."""

    catalog: Catalog = ""
    title: Title = ""
    author_id: int = 0
    published: date | None = None
    price: Price | None = None


class Book(BaseModel):
    """A row."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    catalog: str
    title: str
    author_id: int
    published: date | None
    price: Decimal | None
    created_at: datetime
    updated_at: datetime


class AuthorCreate(BaseModel):
    """A new author."""

    name: Annotated[str, Field(min_length=1, max_length=200)]


class Author(BaseModel):
    """A row."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    created_at: datetime


class AuthorWithBooks(BaseModel):
    """A row with the number of books."""

    id: int
    name: str
    number_of_books: int


class Page(BaseModel):
    """Where some rows are in the list."""

    model_config = ConfigDict(from_attributes=True)

    total_count: int
    next_url: str | None
    prev_url: str | None


class BookPage(Page):
    """Some books."""

    results: list[Book]


class AuthorPage(Page):
    """Some authors."""

    results: list[AuthorWithBooks]


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


@app.get("/livez")
async def livez() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@app.get("/readyz")
async def readyz(session: Session) -> dict[str, str]:
    """The database answers."""
    await session.scalar(select(1))
    return {"status": "ok"}


@app.get("/v1/books", response_model=BookPage)
async def list_books(
    request: Request,
    session: Session,
    title__icontains: str | None = None,
    author_id__eq: int | None = None,
    author_id__in: Annotated[list[int] | None, Query()] = None,
    published__ge: date | None = None,
    published__lt: date | None = None,
    published__isnull: bool | None = None,
    price__le: Price | None = None,
    order_by: Literal["id", "-id", "title", "-title", "published", "-published"] = "id",
    limit: Limit = 20,
    offset: Offset = 0,
) -> Any:
    """Books that match every filter."""
    given = [
        (BookModel.title.icontains, title__icontains),
        (BookModel.author_id.__eq__, author_id__eq),
        (BookModel.author_id.in_, author_id__in),
        (BookModel.published.__ge__, published__ge),
        (BookModel.published.__lt__, published__lt),
        (BookModel.published.is_(None).__eq__, published__isnull),
        (BookModel.price.__le__, price__le),
    ]
    wanted: list[Any] = [compare(value) for compare, value in given if value is not None]
    found = select(BookModel).where(BookModel.deleted_at.is_(None), *wanted)
    column = getattr(BookModel, order_by.removeprefix("-"))
    order = column.desc() if order_by.startswith("-") else column
    page = found.order_by(order, BookModel.id).limit(limit + 1).offset(offset)
    rows = (await session.scalars(page)).all()
    counted = found.with_only_columns(func.count(), maintain_column_froms=True)
    total = await session.scalar(counted)
    around = links(request.url.path, request.url.query, limit, offset, len(rows) > limit, total)
    return {"results": rows[:limit], "total_count": total, **around}


@app.get("/v1/books/{book_id}", response_model=Book)
async def get_book(book_id: int, session: Session) -> Any:
    """One book."""
    return await _found(session, book_id)


@app.post("/v1/books", status_code=201, response_model=Book)
async def create_book(new: BookCreate, session: Session) -> Any:
    """Add a book."""
    book = BookModel(**new.model_dump())
    session.add(book)
    await session.flush()
    return book


@app.patch("/v1/books/{book_id}", response_model=Book)
async def change_book(book_id: int, patch: BookPatch, session: Session) -> Any:
    """Change some fields."""
    book = await _found(session, book_id)
    for name, value in patch.model_dump(exclude_unset=True).items():
        setattr(book, name, value)
    await session.flush()
    return book


@app.delete("/v1/books/{book_id}", status_code=204)
async def delete_book(book_id: int, session: Session) -> None:
    """Mark a book as deleted."""
    book = await _found(session, book_id)
    book.deleted_at = await session.scalar(select(func.now()))


@app.get("/v1/authors", response_model=AuthorPage)
async def list_authors(
    request: Request,
    session: Session,
    name__icontains: str = "",
    number_of_books__ge: int = 0,
    order_by: Literal["name", "-name"] = "name",
    limit: Limit = 20,
    offset: Offset = 0,
) -> Any:
    """Authors that match every filter, each with the number of its books."""
    number = func.count(BookModel.id)
    found = (
        select(AuthorModel.id, AuthorModel.name, number.label("number_of_books"))
        .outerjoin(AuthorModel.books)
        .where(AuthorModel.name.icontains(name__icontains, autoescape=True))
        .group_by(AuthorModel.id)
        .having(number >= number_of_books__ge)
    )
    order = AuthorModel.name.desc() if order_by == "-name" else AuthorModel.name
    rows = (await session.execute(found.order_by(order).limit(limit + 1).offset(offset))).all()
    total = await session.scalar(select(func.count()).select_from(found.subquery())) or 0
    around = links(request.url.path, request.url.query, limit, offset, len(rows) > limit, total)
    return {"results": [row._asdict() for row in rows[:limit]], "total_count": total, **around}


@app.post("/v1/authors", status_code=201, response_model=Author)
async def create_author(new: AuthorCreate, session: Session) -> Any:
    """Add an author."""
    author = AuthorModel(name=new.name)
    session.add(author)
    await session.flush()
    return author


async def _found(session: AsyncSession, book_id: int) -> BookModel:
    book = await session.get(BookModel, book_id)
    if book is None or book.deleted_at is not None:
        raise HTTPException(404)
    return book
