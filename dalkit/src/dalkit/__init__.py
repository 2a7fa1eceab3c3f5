"""The data layer of FastAPI services that write SQLAlchemy Core on PostgreSQL."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if sys.version_info < (3, 11):  # noqa: UP036 - this file is what an older Python gets to read
    sys.exit("Python 3.11 or newer is needed, this is Python " + sys.version.split()[0])

if TYPE_CHECKING:
    from .data import (
        AbortedTransaction,
        DataAccessLayer,
        DatabaseUnreachable,
        NotReflected,
        TransactionManager,
        UnknownTable,
        connect_or_exit,
    )
    from .database import Database
    from .settings import Settings
    from .web.request import (
        ReadTransaction,
        SerializableTransaction,
        Transaction,
    )
    from .web.transactions import TransactionMiddleware

_HOMES = {
    "AbortedTransaction": "data",
    "DataAccessLayer": "data",
    "Database": "database",
    "DatabaseUnreachable": "data",
    "NotReflected": "data",
    "ReadTransaction": "web.request",
    "SerializableTransaction": "web.request",
    "Settings": "settings",
    "Transaction": "web.request",
    "TransactionManager": "data",
    "TransactionMiddleware": "web.transactions",
    "UnknownTable": "data",
    "connect_or_exit": "data",
}

__all__ = [
    "AbortedTransaction",
    "DataAccessLayer",
    "Database",
    "DatabaseUnreachable",
    "NotReflected",
    "ReadTransaction",
    "SerializableTransaction",
    "Settings",
    "Transaction",
    "TransactionManager",
    "TransactionMiddleware",
    "UnknownTable",
    "connect_or_exit",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: `dalkit.data` needs no web framework."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dalkit' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
