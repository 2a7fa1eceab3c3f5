"""The second example: rows of a custom statement as a resource."""

from tests.service.authors.router import router
from tests.service.authors.schemas import Author

#: What is checked against the reflected tables, at startup.
ENTITIES = (Author,)

__all__ = ["ENTITIES", "Author", "router"]
