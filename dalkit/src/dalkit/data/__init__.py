"""Data access without a web framework: tables, engines, transactions, errors."""

from ..errors import AbortedTransaction, DatabaseUnreachable, NotReflected, UnknownTable
from .dal import DataAccessLayer, connect_or_exit
from .transaction import TransactionManager

__all__ = [
    "AbortedTransaction",
    "DataAccessLayer",
    "DatabaseUnreachable",
    "NotReflected",
    "TransactionManager",
    "UnknownTable",
    "connect_or_exit",
]
