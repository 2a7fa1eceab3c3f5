"""The example resource: copy this folder to add a resource, delete it to remove this one."""

from .router import reads, writes
from .schemas import Book, BookQuery

__all__ = ["Book", "BookQuery", "reads", "writes"]
