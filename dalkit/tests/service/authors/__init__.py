"""The second example: rows of a custom statement as a resource."""

from tests.service.authors.router import reads, writes
from tests.service.authors.schemas import Author

__all__ = ["Author", "reads", "writes"]
