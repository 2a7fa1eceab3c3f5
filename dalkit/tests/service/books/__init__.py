"""The example resource: copy this folder to add a resource, delete it to remove this one."""

from tests.service.books.router import router
from tests.service.books.schemas import Book, BookQuery

#: What is checked against the reflected tables, at startup.
ENTITIES = (Book, BookQuery)

__all__ = ["ENTITIES", "Book", "BookQuery", "router"]
