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
    from .entities import (
        Entity,
        EntityMismatch,
        ReadEntity,
        UnknownColumn,
        fetch_entities,
        fetch_entity,
    )
    from .paging import KeysetQueryModel, Page, QueryModel, page
    from .settings import Settings
    from .web.idempotency import IdempotentTransaction
    from .web.problems import Problem
    from .web.request import (
        FreshReadTransaction,
        ReadTransaction,
        SerializableTransaction,
        Transaction,
    )
    from .web.transactions import TransactionMiddleware

__all__ = [
    "AbortedTransaction",
    "DataAccessLayer",
    "Database",
    "DatabaseUnreachable",
    "Entity",
    "EntityMismatch",
    "FreshReadTransaction",
    "IdempotentTransaction",
    "KeysetQueryModel",
    "NotReflected",
    "Page",
    "Problem",
    "QueryModel",
    "ReadEntity",
    "ReadTransaction",
    "SerializableTransaction",
    "Settings",
    "Transaction",
    "TransactionManager",
    "TransactionMiddleware",
    "UnknownColumn",
    "UnknownTable",
    "connect_or_exit",
    "fetch_entities",
    "fetch_entity",
    "page",
]

#: Where the names are, those that need no web framework first.
_HOMES = (
    *("data", "settings", "web.request", "web.transactions", "web.problems", "web.idempotency"),
    *("entities", "paging", "database"),
)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: `dalkit.data` needs no web framework."""
    if name in __all__:
        for home in _HOMES:
            module = import_module(f".{home}", __name__)
            if name in vars(module):
                return vars(module)[name]
    raise AttributeError(f"module 'dalkit' has no attribute {name!r}")
