"""What a database error means: to a client a status and a sentence, to an operator a remedy.

The classes follow PostgreSQL's appendix "Error Codes" (SQLSTATE). Nothing of the driver's text,
the SQL or the DETAIL line, which may hold other people's data, goes into a Fault.
"""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import URL
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ..errors import (
    LOST,
    DatabaseUnreachable,
    NotReflected,
    TooManyStreams,
    driver_error,
    is_collision,
    is_goodbye,
    sqlstate_of,
)
from .urls import async_url

if TYPE_CHECKING:
    from .dal import DataAccessLayer


@dataclass(frozen=True)
class Fault:
    """The answer to a database error."""

    status: int
    kind: str
    detail: str
    columns: tuple[str, ...] = ()
    is_written: bool = True  # into the columns, and not compared with them

    @property
    def is_outage(self) -> bool:
        """Whether the database as a whole cannot be used."""
        return self.kind == "outage"

    @property
    def is_collision(self) -> bool:
        """Whether the same request may succeed when it runs again."""
        return self.kind == "collision"

    @property
    def headers(self) -> dict[str, str]:
        """Retry-After, in seconds (RFC 9110, section 10.2.3), when the client may try again."""
        return {"retry-after": "1"} if self.status == 503 else {}


_VALUE = Fault(422, "value_error", "A value does not fit its column.")
_LOST = Fault(503, "outage", LOST)
_COLLISION = Fault(503, "collision", "The request collided with another one; try again.")
_UNUSABLE = Fault(503, "outage", "The database cannot be used at the moment.")

_BY_TYPE: dict[type, Fault] = {
    NotReflected: Fault(503, "outage", "The database is not ready; /readyz says why."),
    DatabaseUnreachable: Fault(503, "outage", "The database cannot be reached."),
    TimeoutError: Fault(503, "unavailable", "This took too long; try again."),
    TooManyStreams: Fault(
        503, "unavailable", "Too many downloads and uploads are under way; try again."
    ),
    PoolTimeoutError: Fault(503, "outage", "All database connections are in use."),
}

_FOREIGN_KEY = "A record that this refers to is missing, or others refer to this."
_BY_SQLSTATE = {
    "23505": Fault(409, "unique", "A record with this value exists already."),
    "23503": Fault(409, "foreign_key", _FOREIGN_KEY),
    "23P01": Fault(409, "exclusion", "This overlaps a record that exists already."),
    "23502": Fault(422, "missing", "A value is required."),
    "23514": Fault(422, "check", "The value breaks a rule of the database."),
    "22": _VALUE,
    "55P03": Fault(503, "unavailable", "The record is locked by another request; try again."),
    "57014": Fault(503, "unavailable", "The database took too long."),
    "25006": Fault(503, "unavailable", "The database is read-only at the moment."),
    "08": _UNUSABLE,  # connection exceptions
    "28": _UNUSABLE,  # invalid authorization
    "3D000": _UNUSABLE,  # no such database
    "53": _UNUSABLE,  # insufficient resources
    "57P0": _UNUSABLE,  # the server shuts down or starts up
}
#: How DETAIL ends, with lc_messages in English, when the row at fault is the one that refers.
_REFERS = re.compile(r'is not present in table "[^"]*"\.\Z')


def fault_of(error: BaseException, dal: "DataAccessLayer | None" = None) -> Fault | None:
    """The fault that this error stands for, or None when it is a defect of the service."""
    for kind, fault in _BY_TYPE.items():
        if isinstance(error, kind):
            return fault
    driver = driver_error(error)
    if driver is None:
        return None
    if is_collision(error):
        return _COLLISION
    if sqlstate := sqlstate_of(error):
        parts = (sqlstate, sqlstate[:4], sqlstate[:2])
        known = next((_BY_SQLSTATE[part] for part in parts if part in _BY_SQLSTATE), None)
        if known is None or known.status == 503:
            return known
        if known.kind == "foreign_key" and _REFERS.search(getattr(driver, "detail", None) or ""):
            known = replace(known, detail="A record that this refers to is missing.")
        if refused := _column_of_argument(driver, getattr(error, "statement", None) or ""):
            return replace(known, columns=refused[:1], is_written=refused[1])
        return replace(known, columns=_columns_at_fault(driver, dal))
    # asyncpg refuses some values before it sends them, and a closed connection has no SQLSTATE.
    if isinstance(driver, asyncpg.exceptions.DataError):
        return _VALUE
    is_lost = getattr(error, "connection_invalidated", False) or is_goodbye(driver)
    return _LOST if is_lost else None


#: What asyncpg says of an argument that it does not send, such as an integer beyond int4.
_ARGUMENT = re.compile(r"^invalid input for query argument \$(\d+)")
_INSERT = re.compile(r"INSERT INTO [^(]+\(([^)]+)\) VALUES \(([^)]+)\)")
_NAME = r'(?:"([^"]+)"|(\w+))'


def _column_of_argument(driver: Any, statement: str) -> tuple[str, bool] | None:
    """The column that a refused argument is for, and whether it was to be written."""
    refused = _ARGUMENT.match(str(driver))
    if refused is None:
        return None
    argument = rf"\${refused[1]}(?!\d)"
    if insert := _INSERT.match(statement):
        columns, values = (part.split(", ") for part in insert.groups())
        for column, value in zip(columns, values, strict=False):
            if len(columns) == len(values) and re.match(argument, value):
                return column.strip('"'), True
    if found := re.search(rf"{_NAME} ?(?:[<>]=?|=|!=) ?{argument}", statement):
        before = statement[: found.start()]
        return found[1] or found[2], before.rfind(" SET ") > before.rfind(" WHERE ")
    return None


def _columns_at_fault(driver: Any, dal: "DataAccessLayer | None") -> tuple[str, ...]:
    """The column that a driver error names, or those of its constraint by what was reflected."""
    if column := getattr(driver, "column_name", None):
        return (column,)
    constraint = getattr(driver, "constraint_name", None)
    schema, table = getattr(driver, "schema_name", None), getattr(driver, "table_name", None)
    if not (constraint and table and dal and dal.is_reflected):
        return ()
    return dal.reflection("The constraint").constraint_columns(constraint, table, schema)


# PostgreSQL, appendix A: the SQLSTATEs that a connection attempt ends with.
_REMEDIES = {
    "08003": "closed the connection: is it up, and is it PostgreSQL that listens there?",
    "28P01": "refuses the password of user {user!r}: check DATABASE_URL; in it write @ as %40, "
    ": as %3A, / as %2F and % as %25.",
    "28000": "refuses user {user!r}: check DATABASE_URL and pg_hba.conf.",
    "3D000": "has no such database: create it with createdb {database}, or correct DATABASE_URL.",
    "3F000": "has no schema that user {user!r} may create tables in: grant CREATE on one.",
    "42501": "does not let user {user!r} do this: grant it, or use the owner's DATABASE_URL.",
    "53300": "has no connection left: lower DATABASE_POOL_SIZE or raise max_connections.",
    "57P03": "is starting up or shutting down: try again in a moment.",
}


def unreachable(error: BaseException, url: str | URL) -> str | None:
    """Return the sentence, or None when the error is not about reaching the database.

    It names host, port and database, never the password.
    """
    url = async_url(url)
    if isinstance(driver := driver_error(error), asyncpg.ClientConfigurationError):
        is_ca = "root certificate" in str(driver)
        remedy = " Name the server's CA: &sslrootcert=/path/to/ca.crt, or system." if is_ca else ""
        said = str(driver).partition("\n")[0]
        return f"DATABASE_URL of {address(url)} cannot be used: {said}.{remedy}"
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


def cause_of(error: BaseException, url: str | URL) -> str:
    """Return a line for a log: why the database could not be used, and the remedy if there is one.

    Without SQL, parameters and DETAIL.
    """
    if isinstance(error, DatabaseUnreachable):
        error = error.__cause__ or error
    is_driver_s = driver_error(error) is not None or isinstance(error, OSError)
    if is_driver_s and (sentence := unreachable(error, url)):
        return sentence
    told = driver_error(error)
    who = f"PostgreSQL at {address(async_url(url))}" if told else type(error).__name__
    return f"{who}: {str(told or error).partition(chr(10))[0]}"[:500]


def address(url: URL) -> str:
    """Return `host:port/database`; several hosts are separated by commas."""
    hosts = url.query.get("host") or f"{url.host or 'localhost'}:{url.port or 5432}"
    return f"{hosts if isinstance(hosts, str) else ','.join(hosts)}/{url.database or url.username}"
