"""The data toolkit: reflected tables, one transaction per request, pydantic rows and queries."""

from .dal import DataAccessLayer, connect_or_exit
from .errors import AbortedTransaction, DatabaseUnreachable, NotReflected, UnknownTable
from .middleware import TransactionMiddleware
from .request import (
    ReadTransaction,
    ReplayedTransaction,
    SerializableTransaction,
    Transaction,
)
from .transaction import TransactionManager

__all__ = [
    "AbortedTransaction",
    "DataAccessLayer",
    "DatabaseUnreachable",
    "NotReflected",
    "ReadTransaction",
    "ReplayedTransaction",
    "SerializableTransaction",
    "Transaction",
    "TransactionManager",
    "TransactionMiddleware",
    "UnknownTable",
    "connect_or_exit",
]
