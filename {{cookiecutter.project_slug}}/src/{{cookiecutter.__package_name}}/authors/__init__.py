"""The second example: rows of a custom statement as a resource."""

from {{ cookiecutter.__package_name }}.authors.router import router
from {{ cookiecutter.__package_name }}.authors.schemas import Author

ENTITIES = (Author,)

__all__ = ["ENTITIES", "Author", "router"]
