"""Models of the tables in lab.sql."""

from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement

from dalkit.entities import Entity, ReadEntity
from dalkit.paging import KeysetQueryModel, QueryModel
from dalkit.types import Date, Digits, Filter, Int64, Text


class Mood(Enum):
    """The labels of lab.mood."""

    SAD = "sad"
    HAPPY = "happy"


class Author(Entity, table="lab.author"):
    """An author."""

    id: int
    name: str
    born: int | None
    country: str


class AuthorPatch(BaseModel):
    """What may be changed."""

    name: str = "Nobody"
    born: int | None = None


class Book(Entity, table="lab.book"):
    """A book; `in_print` is left out."""

    id: int
    title: str
    author_id: int
    published: date | None
    price: Decimal
    deleted_at: datetime | None


class Odd(Entity, table="lab.odd"):
    """Reserved and quoted names, arrays, enums, json, a generated column."""

    order: int
    select: str
    mixed: int | None = Field(None, alias='Mixed "Case')
    tags: list[str] | None = None
    feeling: Mood | None = None
    ratio: float | None = None
    meta: Any = None
    code: str | None = None
    label: str | None = None
    doubled: int | None = None


class Part(Entity, table="lab.part"):
    """A row of a partitioned table."""

    id: int
    value: str | None


class BooksByAuthor(ReadEntity, table="lab.books_by_author"):
    """A row of a view."""

    id: int
    name: str
    number_of_books: int


class Edition(Entity, table="lab.edition"):
    """A composite key, an etag, and times without a time zone."""

    book_id: int
    number: int
    title: str
    etag: UUID = Field(exclude=True)
    updated_at: datetime | None
    deleted_at: datetime | None = Field(exclude=True)


class Note(Entity, table="lab.note"):
    """A key of text, and an etag that counts; rows are deleted for good."""

    name: str
    body: str | None
    etag: int = Field(validation_alias="version", exclude=True)


class Leaf(Entity, table="lab.page"):
    """An etag that PostgreSQL computes, of characters that have no place in a header."""

    id: UUID
    body: str
    etag: str


Orderings = Literal[
    "id", "-id", "title", "-title", "published", "-published", "published,-title", "-price,title"
]
Price = Annotated[Decimal, Digits(10, 2), Field(ge=0)]


class BookQuery(QueryModel, entity=Book):
    """Every operator."""

    title__eq: Filter[Text] = None
    title__ne: Filter[Text] = None
    title__contains: Filter[Text] = None
    title__icontains: Filter[Text] = None
    title__startswith: Filter[Text] = None
    author_id__eq: Filter[Int64] = None
    author_id__in: Filter[list[Int64]] = None
    published__eq: Filter[Date] = None
    published__ne: Filter[Date] = None
    published__lt: Filter[Date] = None
    published__le: Filter[Date] = None
    published__gt: Filter[Date] = None
    published__ge: Filter[Date] = None
    published__isnull: Filter[bool] = None
    price__eq: Filter[Price] = None
    in_print__eq: Filter[bool] = None
    order_by: Orderings = "id"

    @classmethod
    def restrict(cls, columns: Any) -> ColumnElement[bool]:
        """Deleted books are not listed."""
        condition: ColumnElement[bool] = columns.deleted_at.is_(None)
        return condition


class BookFeed(KeysetQueryModel, entity=Book):
    """Keyset pages."""

    title__startswith: Filter[Text] = None
    order_by: Orderings = "id"
