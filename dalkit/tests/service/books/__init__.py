"""The example resource: copy this folder to add a resource, delete it to remove this one."""

from tests.service.books.router import reads, writes
from tests.service.books.schemas import Book, BookQuery

__all__ = ["Book", "BookQuery", "reads", "writes"]
