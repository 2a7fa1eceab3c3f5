"""Tables, views and unique keys, read from PostgreSQL's catalog.

catalog reads what relation holds, tables makes SQLAlchemy tables of it, reflection is the result.
"""

from .reflection import Only, Reflection, ViewKeys, read_reflection
from .relation import UniqueKey

__all__ = ["Only", "Reflection", "UniqueKey", "ViewKeys", "read_reflection"]
