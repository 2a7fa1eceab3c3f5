"""What a book looks like: as a row, as a request and as a query."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import MISSING, Field
from sqlalchemy import ColumnElement

from dalkit import Entity, QueryModel
from dalkit.types import Body, Date, Digits, Filter, Int64, JsonInt64, Text

Catalog = Annotated[Text, Field(min_length=1, max_length=64)]
Title = Annotated[Text, Field(min_length=1, max_length=200)]
Price = Annotated[Decimal, Digits(10, 2), Field(ge=0)]


class Book(Entity, table="book"):
    """A row of the table `book`."""

    id: int
    catalog: str
    title: str
    author_id: int
    published: date | None
    price: Decimal | None
    created_at: datetime
    updated_at: datetime
    etag: UUID = Field(exclude=True)
    deleted_at: datetime | None = Field(exclude=True)


class BookCreate(Body):
    """A new book."""

    catalog: Catalog
    title: Title
    author_id: JsonInt64
    published: Date | None = None
    price: Price | None = None


class BookPatch(Body):
    """The fields to change; a field that is left out stays as it is."""

    catalog: Catalog | MISSING = MISSING
    title: Title | MISSING = MISSING
    author_id: JsonInt64 | MISSING = MISSING
    published: Date | MISSING | None = MISSING
    price: Price | MISSING | None = MISSING


class BookQuery(QueryModel, entity=Book):
    """The parameters of the list of books."""

    title__icontains: Filter[Text] = None
    author_id__eq: Filter[Int64] = None
    author_id__in: Filter[list[Int64]] = None
    published__ge: Filter[Date] = None
    published__lt: Filter[Date] = None
    published__isnull: Filter[bool] = None
    price__le: Filter[Price] = None
    order_by: Literal["id", "-id", "title", "-title", "published", "-published"] = "id"

    @classmethod
    def restrict(cls, columns: Any) -> ColumnElement[bool]:
        """Deleted books are not listed."""
        condition: ColumnElement[bool] = columns.deleted_at.is_(None)
        return condition
