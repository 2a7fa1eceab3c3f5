"""What a database error means: to a client a status and a sentence, to an operator a remedy.

The classes follow PostgreSQL's appendix "Error Codes" (SQLSTATE). Nothing of the driver's text,
the SQL or the DETAIL line, which may hold other people's data, goes into a Fault.
"""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import URL
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from .errors import (
    DatabaseUnreachable,
    NotReflected,
    TooManyStreams,
    driver_error,
    is_collision,
    sqlstate_of,
)
from .urls import async_url

if TYPE_CHECKING:
    from .dal import DataAccessLayer

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


def fault_of(error: BaseException, dal: "DataAccessLayer | None" = None) -> Fault | None:
    """The fault that this error stands for, or None when it is a defect of the service."""
    if isinstance(error, NotReflected):
        return _unavailable("The database is not ready; /readyz says why.", is_outage=True)
    if isinstance(error, DatabaseUnreachable):
        return _unavailable("The database cannot be reached.", is_outage=True)
    if isinstance(error, TimeoutError):
        return _unavailable("This took too long; try again.")
    if isinstance(error, TooManyStreams):
        return _unavailable("Too many downloads and uploads are under way; try again.")
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


def _fault_of_sqlstate(sqlstate: str, driver: Any, dal: "DataAccessLayer | None") -> Fault | None:
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


def columns_at_fault(driver: Any, dal: "DataAccessLayer | None") -> tuple[str, ...]:
    """The columns of the constraint that a driver error names, by what was reflected."""
    named = _named_column(driver)
    if named or dal is None or not dal.is_reflected:
        return named
    constraint = getattr(driver, "constraint_name", None)
    schema, table = getattr(driver, "schema_name", None), getattr(driver, "table_name", None)
    if not (constraint and table):
        return ()
    return dal.reflection("The constraint").constraint_columns(constraint, table, schema)


def _named_column(driver: Any) -> tuple[str, ...]:
    column = getattr(driver, "column_name", None)
    return (column,) if column else ()


# PostgreSQL, appendix A: the SQLSTATEs that a connection attempt ends with.
_REMEDIES = {
    "08003": "closed the connection: is it up, and is it PostgreSQL that listens there?",
    "28P01": "refuses the password of user {user!r}: check DATABASE_URL; in it write @ as %40, "
    ": as %3A, / as %2F and % as %25.",
    "28000": "refuses user {user!r}: check DATABASE_URL and pg_hba.conf.",
    "3D000": "has no such database: create it with createdb {database}, or correct DATABASE_URL.",
    "42501": "does not let user {user!r} do this: grant it, or use the owner's DATABASE_URL.",
    "53300": "has no connection left: lower DATABASE_POOL_SIZE or raise max_connections.",
    "57P03": "is starting up or shutting down: try again in a moment.",
}


def unreachable(error: BaseException, url: str | URL) -> str | None:
    """Return the sentence, or None when the error is not about reaching the database.

    It names host, port and database, never the password.
    """
    url = async_url(url)
    if sqlstate := sqlstate_of(error):
        remedy = _REMEDIES.get(sqlstate, "")
        remedy = remedy.format(user=url.username, database=url.database)
        return f"PostgreSQL at {address(url)} {remedy}" if remedy else None
    if isinstance(error, TimeoutError):
        return f"PostgreSQL at {address(url)} did not answer in time: is the address right?"
    if isinstance(error, OSError):
        return (
            f"PostgreSQL at {address(url)} cannot be reached ({error.strerror or error}): "
            "start it, or correct DATABASE_URL."
        )
    return None


def address(url: URL) -> str:
    """Return `host:port/database`; several hosts are separated by commas."""
    hosts = url.query.get("host") or f"{url.host or 'localhost'}:{url.port or 5432}"
    return f"{hosts if isinstance(hosts, str) else ','.join(hosts)}/{url.database or url.username}"
