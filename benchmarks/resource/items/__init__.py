"""The resource that the benchmarks ask for."""

from .router import reads, writes
from .schemas import Item, ItemQuery

__all__ = ["Item", "ItemQuery", "reads", "writes"]
