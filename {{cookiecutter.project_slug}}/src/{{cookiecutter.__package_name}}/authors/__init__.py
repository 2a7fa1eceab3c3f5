"""The second example: rows of a custom statement as a resource."""

from .router import reads, writes
from .schemas import Author

__all__ = ["Author", "reads", "writes"]
