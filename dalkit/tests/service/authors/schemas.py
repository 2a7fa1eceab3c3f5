"""What an author looks like: as a row, as a request and counted with books."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dalkit import Entity, QueryModel, ReadEntity
from dalkit.types import Body, Filter, Int64, Text


class Author(Entity, table="author"):
    """A row of the table `author`."""

    id: int
    name: str
    created_at: datetime


class AuthorCreate(Body):
    """A new author."""

    name: Annotated[Text, Field(min_length=1, max_length=200)]


class AuthorWithBooks(ReadEntity):
    """A row of the statement `authors_with_books`."""

    id: int
    name: str
    number_of_books: int


class AuthorQuery(QueryModel):
    """The parameters of the list of authors; its fields name the statement's columns."""

    name__icontains: Filter[Text] = None
    number_of_books__ge: Filter[Int64] = None
    order_by: Literal["name", "-name", "number_of_books", "-number_of_books"] = "name"
    tie_break: ClassVar[tuple[str, ...]] = ("id",)
