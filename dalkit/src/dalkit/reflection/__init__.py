"""Tables, views and unique keys, read from PostgreSQL's catalog.

catalog reads rows, tables makes SQLAlchemy tables of them, snapshot is the result.
"""

from .build import ViewKeys
from .read import Only, read_reflection
from .snapshot import Reflection
from .unique_keys import UniqueKey

__all__ = ["Only", "Reflection", "UniqueKey", "ViewKeys", "read_reflection"]
