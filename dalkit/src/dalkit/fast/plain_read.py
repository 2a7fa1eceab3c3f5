"""Tells which statements may run before BEGIN."""

from typing import Any

from sqlalchemy import Select
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import ColumnClause, TextClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import TextualSelect

#: Functions that neither write nor depend on the transaction they run in.
PURE_FUNCTIONS = frozenset(
    {"array_agg", "avg", "bool_and", "bool_or", "coalesce", "count", "greatest", "json_agg"}
    | {"jsonb_agg", "least", "length", "lower", "max", "min", "string_agg", "sum", "upper"}
)


def is_plain_read(statement: object) -> bool:
    """True for a SELECT that takes no lock, has no side effect and means the same outside BEGIN.

    Under READ COMMITTED every statement has a snapshot of its own, in a transaction or not.
    When in doubt the answer is False, which costs a round trip and nothing else.
    """
    return isinstance(statement, Select) and all(map(_is_plain, visitors.iterate(statement)))


def _is_plain(element: Any) -> bool:
    if isinstance(element, TextClause | TextualSelect) or getattr(element, "is_dml", False):
        return False
    if isinstance(element, Select):
        return element._for_update_arg is None
    if isinstance(element, FunctionElement):
        return getattr(element, "name", "").lower() in PURE_FUNCTIONS
    if isinstance(element, ColumnClause):
        return not element.is_literal or element.name == "*"
    return True
