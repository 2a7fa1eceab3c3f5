"""The second example: rows of a custom statement as a resource."""

from .router import router
from .schemas import Author

ENTITIES = (Author,)

__all__ = ["ENTITIES", "Author", "router"]
