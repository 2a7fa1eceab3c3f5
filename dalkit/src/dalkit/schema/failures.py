"""Why a migration failed, in words: which line of which file, and what to do."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError

from ..data.faults import unreachable
from ..errors import sqlstate_of

# PostgreSQL, appendix A: the SQLSTATEs of a statement that a limit has ended.
_STOPPED = {
    "55P03": "{where} was stopped by lock_timeout: it waited {lock_timeout} for a table that a "
    "running transaction holds, and nothing of its transaction was applied. Try again when less is "
    "going on, or wait longer by `op.execute(\"SET LOCAL lock_timeout = '30s'\")` in it.",
    "57014": "{where} was stopped by statement_timeout, {statement_timeout}, and nothing of its "
    "transaction was applied. Put what locks nothing, such as CREATE INDEX CONCURRENTLY, into "
    "`with concurrently():`, or give it more time by "
    "`op.execute(\"SET LOCAL statement_timeout = '10min'\")` in it.",
    "canceled": "{where} was canceled by an administrator ({reason}), and nothing of its "
    "transaction was applied.",
}
_FAILED = "{where} failed, and nothing of its transaction was applied: {reason}"
_UNRECORDED = (
    "The database has the tables of a migration that it has no record of ({reason}). Record the "
    "revision with alembic stamp <revision>, or start from an empty database."
)
_TABLE_EXISTS = "42P07"
_LIMITS = ("lock_timeout", "statement_timeout")


class SyncError(CommandError):
    """The schema cannot be brought up to date; the message says why and what to do."""


@contextmanager
def import_in_words(folders: list[Path]) -> Iterator[None]:
    """Raise SyncError for a migration that cannot be imported: which line, and why not."""
    try:
        yield
    except CommandError:
        raise
    except Exception as error:
        if where := _line_in(folders, error):
            raise SyncError(f"{where} cannot be imported: {reason_of(error)}") from error
        if isinstance(error, KeyError):
            raise SyncError(
                f"A migration has {error} as its down_revision, which none has as its revision."
            ) from error
        if isinstance(error, RevisionError):
            raise SyncError(f"The migrations are in no order: {error}.") from error
        raise


@contextmanager
def run_in_words(
    connection: Connection, folders: list[Path], *, is_recorded: bool
) -> Iterator[None]:
    """Raise SyncError for what a migration did wrong, or a limit has ended: which line, and why.

    `is_recorded` tells whether any migration is recorded as run. What is about reaching the
    database is `migration_connection`'s.
    """
    with _limits_in_force(connection) as limits:
        try:
            yield
        except CommandError:
            raise
        except DBAPIError as error:
            code = sqlstate_of(error)
            where, reason = _line_in(folders, error), reason_of(error)
            if code == _TABLE_EXISTS and not is_recorded:
                raise SyncError(_UNRECORDED.format(reason=reason)) from error
            if code not in _STOPPED and (
                where is None or unreachable(error, connection.engine.url)
            ):
                raise
            # One SQLSTATE for both; the text is in the server's language, unless that is English.
            words = _STOPPED.get("canceled" if "user request" in reason else code or "", _FAILED)
            where = where or "A migration"
            raise SyncError(words.format(where=where, reason=reason, **limits)) from error
        except Exception as error:
            where = _line_in(folders, error)
            is_network = isinstance(error, OSError) and error.filename is None
            if where is None or is_network:
                raise
            raise SyncError(_FAILED.format(where=where, reason=reason_of(error))) from error


@contextmanager
def _limits_in_force(connection: Connection) -> Iterator[dict[str, str]]:
    """Yield the limits of the latest statement; a migration may have set others, with SET LOCAL.

    They are asked for before the first statement and before one that follows such a change, as a
    transaction that has failed tells nothing. SHOW takes no snapshot: SET TRANSACTION may follow.
    """
    found = dict.fromkeys(_LIMITS, "")
    is_stale = True

    def ask(connection: Connection, *_: Any) -> None:
        nonlocal is_stale
        if not is_stale:
            return
        cursor = connection.connection.cursor()
        with suppress(connection.dialect.loaded_dbapi.Error):  # the statement will say so, too
            for name in _LIMITS:
                cursor.execute(f"SHOW {name}")
                found[name] = (cursor.fetchone() or ("",))[0]
            is_stale = False

    def look(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        nonlocal is_stale
        is_stale |= any(word in statement.lower() for word in ("timeout", "rollback"))

    def forget(connection: Connection) -> None:  # what was set with LOCAL ends here
        nonlocal is_stale
        is_stale = True

    listeners: dict[str, Any] = {
        "before_cursor_execute": ask,
        "after_cursor_execute": look,
        "begin": forget,
    }
    for name, listener in listeners.items():
        event.listen(connection, name, listener)
    try:
        yield found
    finally:
        for name, listener in listeners.items():
            event.remove(connection, name, listener)


def _line_in(folders: list[Path], error: BaseException) -> str | None:
    """Return the last line of a file in there that the error came through: `0002_x.py:13`."""
    places = [(it.filename, it.lineno) for it in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
    inside = [(Path(file).resolve(), line) for file, line in places]
    lines = [f"{p.name}:{line}" for p, line in inside if any(it in p.parents for it in folders)]
    return lines[-1] if lines else None


def reason_of(error: BaseException) -> str:
    """Return in a line what is wrong, without DETAIL and the statement, which have values."""
    if isinstance(error, DBAPIError):  # the server's own words
        return str(getattr(error.orig, "__cause__", None) or error.orig).partition("\n")[0]
    said = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
