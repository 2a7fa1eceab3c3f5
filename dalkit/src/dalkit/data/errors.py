"""What the data layer raises, and what the driver's own errors are."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import asyncpg
from sqlalchemy.exc import DBAPIError

#: SQLSTATE serialization_failure and deadlock_detected: PostgreSQL asks for the transaction again.
_REPLAYABLE = frozenset({"40001", "40P01"})


class NotReflected(RuntimeError):
    """The tables are not known: the database was not reachable, or `reflect()` was not called."""

    def __init__(self, wanted: str) -> None:
        super().__init__(
            f"{wanted} was asked for before the database was reflected. "
            "Await DataAccessLayer.reflect(engine) first, or wait until /readyz answers 200."
        )


class DatabaseUnreachable(OSError):
    """No connection could be made (refused, timed out, unknown host), or one was lost."""


class TooManyStreams(RuntimeError):
    """Downloads and uploads hold as many of the pool's connections as they may."""


class UnknownSchema(LookupError):
    """The database has no schema of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The database has no schema {name!r}: correct DATABASE_SCHEMAS.")


class UnknownTable(KeyError):
    """No reflected table or view has this name; a KeyError, as `metadata.tables` raises."""

    def __init__(self, name: str, known: Iterable[str], schemas: Iterable[str]) -> None:
        message = f"No table {name!r}."
        matches = _near(name, sorted(known))
        if matches:
            message += f" Did you mean {' or '.join(map(repr, matches))}?"
        super().__init__(f"{message} Reflected schemas: {', '.join(schemas)}.")

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError's own is the repr() of it


def _near(name: str, known: Sequence[str]) -> list[str]:
    """Up to three known names that resemble this one, or that have it in another schema."""
    last = name.rpartition(".")[2].casefold()
    by_last: dict[str, list[str]] = {}
    for one in known:
        by_last.setdefault(one.rpartition(".")[2].casefold(), []).append(one)
    alike = [one for near in get_close_matches(last, by_last) for one in by_last[near]]
    # Tables of the default schema are known by both names: the short one will do.
    shorter = [one for one in alike if one.rpartition(".")[2] not in alike or "." not in one]
    return shorter[:3]


class AbortedTransaction(RuntimeError):
    """A statement failed, its error was swallowed, and nothing of the transaction was saved.

    PostgreSQL answers COMMIT of a failed transaction with the command tag ROLLBACK and no error.
    """

    def __init__(self) -> None:
        super().__init__(
            "An earlier statement of this transaction failed and its error was swallowed; "
            "nothing was saved. Guard a statement that may fail with "
            "`async with transaction.savepoint():`."
        )


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
