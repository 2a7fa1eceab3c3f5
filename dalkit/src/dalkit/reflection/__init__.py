"""Tables, views and unique keys, read from PostgreSQL's catalog.

catalog reads rows, tables makes SQLAlchemy tables of them, reflection is the result.
"""

from .reflection import Only, Reflection, ViewKeys, read_reflection
from .tables import UniqueKey

__all__ = ["Only", "Reflection", "UniqueKey", "ViewKeys", "read_reflection"]
