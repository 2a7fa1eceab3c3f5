"""The second example: rows of a custom statement as a resource."""

from .router import router
from .schemas import Author

#: What is checked against the reflected tables, at startup.
ENTITIES = (Author,)

__all__ = ["ENTITIES", "Author", "router"]
