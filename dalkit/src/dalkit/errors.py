"""What the data layer raises, and what the driver's own errors are; imports nothing of dalkit."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import asyncpg
from sqlalchemy import FromClause
from sqlalchemy.exc import DBAPIError


class NotReflected(RuntimeError):
    """The tables are not known: the database was not reachable, or `reflect()` was not called."""

    def __init__(self, wanted: str) -> None:
        super().__init__(
            f"{wanted} was asked for before the database was reflected. "
            "Await DataAccessLayer.reflect(engine) first, or wait until /readyz answers 200."
        )


class DatabaseUnreachable(OSError):
    """No connection could be made (refused, timed out, unknown host), or one was lost."""


LOST = "The connection to the database was lost."


class TooManyStreams(RuntimeError):
    """Downloads and uploads hold as many of the pool's connections as they may."""


class UnknownSchema(LookupError):
    """The database has no schema of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The database has no schema {name!r}: correct DATABASE_SCHEMAS.")


class UnknownTable(KeyError):
    """No reflected table or view has this name; a KeyError, as `metadata.tables` raises."""

    def __init__(self, name: str, known: Iterable[str], schemas: Iterable[str]) -> None:
        matches = " or ".join(map(repr, _near(name, sorted(known))))
        hint = f" Did you mean {matches}?" if matches else ""
        super().__init__(f"No table {name!r}.{hint} Reflected schemas: {', '.join(schemas)}.")

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError's own is the repr() of it


def _near(name: str, known: Sequence[str]) -> list[str]:
    """Up to three known names that resemble this one, or that have it in another schema."""

    def bare(qualified: str) -> str:
        return qualified.rpartition(".")[2]

    near = get_close_matches(bare(name).casefold(), {bare(one).casefold() for one in known})
    alike = sorted(
        (one for one in known if bare(one).casefold() in near),
        key=lambda one: near.index(bare(one).casefold()),
    )
    # Tables of the default schema are known by both names: the short one will do.
    return [one for one in alike if "." not in one or bare(one) not in alike][:3]


class UnknownColumn(LookupError):
    """No column of this name."""

    def __init__(self, name: str, source: FromClause) -> None:
        known = list(source.c.keys())
        matches = get_close_matches(name, known, n=3)
        hint = f"Did you mean {' or '.join(map(repr, matches))}?" if matches else ""
        where = getattr(source, "fullname", "the statement")
        super().__init__(f"No column {name!r} in {where}. {hint or 'Columns: ' + ', '.join(known)}")


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


#: What asyncpg raises of its own. The third is of a connection that cannot be used any more: it has
#: read the server's goodbye, but not yet that the socket is closed.
DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def driver_error(error: BaseException) -> Any:
    """The asyncpg error behind `error`, or None when it is not one of the database."""
    if isinstance(error, DBAPIError):
        return getattr(error.orig, "__cause__", None) or error.orig
    return error if isinstance(error, DRIVER_ERRORS) else None


def sqlstate_of(error: BaseException) -> str | None:
    """The five characters of PostgreSQL's error code, or None."""
    translated = getattr(error, "orig", None)
    return getattr(driver_error(error), "sqlstate", None) or getattr(translated, "sqlstate", None)


_STALE = (
    asyncpg.exceptions.InvalidCachedStatementError,
    asyncpg.exceptions.OutdatedSchemaCacheError,
)


def is_goodbye(error: BaseException) -> bool:
    """Whether asyncpg has read that the server ends the connection, as the third of its errors."""
    return isinstance(error, asyncpg.InternalClientError) and not isinstance(error, _STALE)


def is_collision(error: BaseException) -> bool:
    """Whether the same work may succeed when it is done again.

    So after a serialization failure (SQLSTATE 40001) and a deadlock (40P01), and after a change of
    the schema: each connection finds out once that its prepared statement or a type is stale.
    """
    return isinstance(driver_error(error), _STALE) or sqlstate_of(error) in ("40001", "40P01")
