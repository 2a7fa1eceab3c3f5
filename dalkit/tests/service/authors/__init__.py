"""The second example: rows of a custom statement as a resource."""

from tests.service.authors.router import router
from tests.service.authors.schemas import Author

ENTITIES = (Author,)

__all__ = ["ENTITIES", "Author", "router"]
