"""What a database error means to a client: a status, a sentence, the columns at fault.

The classes follow PostgreSQL's appendix "Error Codes" (SQLSTATE). Nothing of the driver's text,
the SQL or the DETAIL line, which may hold other people's data, goes into a Fault.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from .dal import DataAccessLayer
from .errors import DatabaseUnreachable, NotReflected
from .sqlstate import driver_error, is_collision, sqlstate_of

#: Seconds that a client is asked to wait before it tries again (Retry-After, RFC 9110 10.2.3).
RETRY_AFTER = {"retry-after": "1"}


@dataclass(frozen=True)
class Fault:
    """The answer to a database error."""

    status: int
    kind: str
    detail: str
    columns: tuple[str, ...] = ()
    is_outage: bool = False  # the database as a whole cannot be used
    is_collision: bool = False  # the same request may succeed when it runs again
    headers: dict[str, str] = field(default_factory=dict)


def fault_of(error: BaseException, dal: DataAccessLayer | None = None) -> Fault | None:
    """The fault that this error stands for, or None when it is a defect of the service."""
    if isinstance(error, NotReflected):
        return _unavailable("The database is not ready; /readyz says why.", is_outage=True)
    if isinstance(error, DatabaseUnreachable):
        return _unavailable("The database cannot be reached.", is_outage=True)
    if isinstance(error, PoolTimeoutError):
        return _unavailable("All database connections are in use.", is_outage=True)
    driver = driver_error(error)
    if driver is None:
        return None
    if is_collision(error):
        detail = "The request collided with another one; try again."
        return Fault(503, "collision", detail, is_collision=True, headers=dict(RETRY_AFTER))
    sqlstate = sqlstate_of(error)
    if sqlstate:
        return _fault_of_sqlstate(sqlstate, driver, dal)
    return _fault_of_client(error, driver)


def _fault_of_client(error: BaseException, driver: Any) -> Fault | None:
    """asyncpg refuses some values before it sends them, and a closed connection has no SQLSTATE."""
    if isinstance(driver, asyncpg.exceptions.DataError):
        return Fault(422, "value_error", "A value does not fit its column.")
    if getattr(error, "connection_invalidated", False):
        return _unavailable("The connection to the database was lost.", is_outage=True)
    return None


def _fault_of_sqlstate(sqlstate: str, driver: Any, dal: DataAccessLayer | None) -> Fault | None:
    if sqlstate in _CONSTRAINTS:
        status, kind, detail = _CONSTRAINTS[sqlstate]
        if sqlstate == "23503" and _REFERS.search(getattr(driver, "detail", None) or ""):
            detail = "A record that this refers to is missing."
        return Fault(status, kind, detail, columns_at_fault(driver, dal))
    if sqlstate[:2] == "22":
        return Fault(422, "value_error", "A value does not fit its column.", _named_column(driver))
    if sqlstate in _BUSY:
        return _unavailable(_BUSY[sqlstate])
    if sqlstate[:2] in _OUTAGES or sqlstate.startswith("57P0") or sqlstate == "3D000":
        return _unavailable("The database cannot be used at the moment.", is_outage=True)
    return None


_CONSTRAINTS = {
    "23505": (409, "unique", "A record with this value exists already."),
    "23503": (
        409,
        "foreign_key",
        "A record that this refers to is missing, or others refer to this.",
    ),
    "23P01": (409, "exclusion", "This overlaps a record that exists already."),
    "23502": (422, "missing", "A value is required."),
    "23514": (422, "check", "The value breaks a rule of the database."),
}
#: How DETAIL ends, with lc_messages in English, when the row at fault is the one that refers.
_REFERS = re.compile(r'is not present in table "[^"]*"\.\Z')
_BUSY = {
    "55P03": "The record is locked by another request; try again.",
    "57014": "The database took too long.",
    "25006": "The database is read-only at the moment.",
}
#: Connection exceptions, invalid authorization, insufficient resources.
_OUTAGES = {"08", "28", "53"}


def _unavailable(detail: str, *, is_outage: bool = False) -> Fault:
    return Fault(503, "unavailable", detail, is_outage=is_outage, headers=dict(RETRY_AFTER))


def columns_at_fault(driver: Any, dal: DataAccessLayer | None) -> tuple[str, ...]:
    """The columns of the constraint that a driver error names, by what was reflected."""
    named = _named_column(driver)
    if named or dal is None or not dal.is_reflected:
        return named
    constraint = getattr(driver, "constraint_name", None)
    schema, table = getattr(driver, "schema_name", None), getattr(driver, "table_name", None)
    return dal.constraint_columns(constraint, table, schema) if constraint and table else ()


def _named_column(driver: Any) -> tuple[str, ...]:
    column = getattr(driver, "column_name", None)
    return (column,) if column else ()
