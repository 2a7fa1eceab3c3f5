"""What a database error is, whichever layer it comes from."""

from typing import Any

import asyncpg
from sqlalchemy.exc import DBAPIError

#: SQLSTATE serialization_failure and deadlock_detected: PostgreSQL asks for the transaction again.
_REPLAYABLE = frozenset({"40001", "40P01"})


def driver_error(error: BaseException) -> Any:
    """The asyncpg error behind `error`, or None when it is not one of the database."""
    if isinstance(error, DBAPIError):
        return getattr(error.orig, "__cause__", None) or error.orig
    return error if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError) else None


def sqlstate_of(error: BaseException) -> str | None:
    """The five characters of PostgreSQL's error code, or None."""
    translated = getattr(error, "orig", None)
    return getattr(driver_error(error), "sqlstate", None) or getattr(translated, "sqlstate", None)


def is_collision(error: BaseException) -> bool:
    """Whether the same work may succeed when it is done again.

    So after a serialization failure and a deadlock, and after a change of the schema: each
    connection finds out once that its prepared statement is stale.
    """
    stale = isinstance(driver_error(error), asyncpg.exceptions.InvalidCachedStatementError)
    return stale or sqlstate_of(error) in _REPLAYABLE
