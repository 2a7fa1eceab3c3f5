"""The example resource: copy this folder to add a resource, delete it to remove this one."""

from {{ cookiecutter.__package_name }}.books.router import router
from {{ cookiecutter.__package_name }}.books.schemas import Book, BookQuery

ENTITIES = (Book, BookQuery)

__all__ = ["ENTITIES", "Book", "BookQuery", "router"]
