"""BEGIN, COMMIT and errors as this service handles them, where SQLAlchemy's dialect has its own.

The asyncpg dialect holds the driver's transaction in one private attribute of its connection,
`_transaction`, and begins one whenever that is None. By putting an object of ours there, a plain
read can run without BEGIN and the command tag of COMMIT can be checked, while SQLAlchemy's own
commit and rollback go on working. `_handle_exception` of the same object makes SQLAlchemy's errors
of asyncpg's. The deadline of asyncpg's statements is in its `_config`. `_has_events` is
SQLAlchemy's own shortcut: whether anybody ever listened to an engine or a dialect.
tests/fast/test_wire.py is the contract; pyproject.toml bounds the version.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any

import asyncpg
from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import ManagesConnection

from ..errors import AbortedTransaction, DatabaseUnreachable

#: The execution option of an engine with a statement to send along with each BEGIN.
AFTER_BEGIN = "after_begin"
#: The execution option of an engine on which nothing may run outside of a transaction.
ALWAYS_BEGIN = "always_begin"
#: The execution option of an engine with those who trace its statements: a tuple of functions from
#: asyncpg's connection to one that sends the same and tells of it. Each also listens to what
#: SQLAlchemy sends, and to its errors.
TRACERS = "tracers"
ISOLATION_LEVELS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
#: What stands before the values of a transaction's context; those who trace statements stop here.
CONTEXT_MARK = "/* context */"
#: A parameter that is nobody's: PostgreSQL's own have no dot (manual, "Customized Options").
_CUSTOM = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(?:\.[A-Za-z_][A-Za-z0-9_$]*)+")


#: Seconds that the client waits for a statement's answer beyond the server's statement_timeout.
GRACE = 5.0
#: The same for COMMIT: when its answer is not waited for, nobody knows whether it was done.
GRACE_OF_COMMIT = 10.0


class Begun:
    """A transaction that was begun by `begin`; both methods raise TimeoutError."""

    def __init__(self, driver: asyncpg.Connection, sender: asyncpg.Connection) -> None:
        self._driver = driver
        self._sender = sender

    async def commit(self) -> None:
        """Send COMMIT. Raises AbortedTransaction when PostgreSQL answers it with ROLLBACK."""
        seconds = deadline(self._driver)
        limit = None if seconds is None else seconds - GRACE + GRACE_OF_COMMIT
        if await self._sender.execute("COMMIT", timeout=limit) != "COMMIT":
            raise AbortedTransaction

    async def rollback(self) -> None:
        """Send ROLLBACK."""
        await self._sender.execute("ROLLBACK")


def deadline(driver: asyncpg.Connection) -> float | None:
    """The seconds that the client waits for the answer to a statement; None: for ever."""
    seconds: float | None = driver._config.command_timeout
    return seconds


def set_deadline(driver: asyncpg.Connection, seconds: float | None) -> None:
    """Let the client wait so long from now on."""
    driver._config = driver._config._replace(command_timeout=seconds)


def unanswered(driver: asyncpg.Connection | None, statement: str) -> DatabaseUnreachable:
    """Terminate a connection that has not answered in time; return the error to raise.

    Not closed politely: the server would have to answer that, too.
    """
    if driver is not None:
        driver.terminate()
    if statement == "COMMIT":
        return DatabaseUnreachable("COMMIT was not answered: what became of it is not known.")
    return DatabaseUnreachable("The database did not answer in time.")


async def begin(
    taken: ManagesConnection, sender: asyncpg.Connection, statement: str, after: str = ""
) -> Begun:
    """Send a `begin_statement`, and `after` along with it, and let SQLAlchemy know of it.

    When this is cancelled nobody knows whether BEGIN has arrived: close the connection then.
    """
    driver: asyncpg.Connection = taken.driver_connection
    _dialect_state(taken)._transaction = begun = Begun(driver, sender)
    await sender.execute(f"{statement}; {after}" if after else statement)
    return begun


def has_ended(taken: ManagesConnection) -> None:
    """Let SQLAlchemy know that the transaction was ended without it."""
    _dialect_state(taken)._transaction = None


def is_begun(conn: Connection) -> bool:
    """Whether the transaction of this connection was begun by `begin`."""
    return isinstance(_dialect_state(conn.connection)._transaction, Begun)


def as_sqlalchemys(
    error: Exception, taken: ManagesConnection, dialect: Dialect, statement: str
) -> Exception:
    """The error that SQLAlchemy would have raised for what asyncpg has raised.

    Its `orig` is the dialect's own error and the cause of that is asyncpg's, as always; an error
    that SQLAlchemy lets through is returned as it is.
    """
    adapter = _dialect_state(taken)
    base, orig = dialect.loaded_dbapi.Error, error
    try:
        adapter._handle_exception(error)
    except Exception as translated:  # noqa: BLE001 - it always raises
        orig = translated.with_traceback(None)  # that has this frame, which has the error: a circle
    if not isinstance(orig, base):
        return error
    is_lost = dialect.is_disconnect(orig, adapter, None)
    options: Any = {"hide_parameters": True, "connection_invalidated": is_lost, "dialect": dialect}
    known: Exception = DBAPIError.instance(statement, None, orig, base, **options)
    known.__cause__ = orig
    return known


def _dialect_state(taken: ManagesConnection) -> Any:
    return taken.dbapi_connection


def begin_statement(isolation: str | None, readonly: bool) -> str:
    """`BEGIN` with its options.

    Raises ValueError for an isolation level that PostgreSQL does not have.
    """
    if isolation is not None and isolation not in ISOLATION_LEVELS:
        raise ValueError(f"isolation is {isolation!r}; use one of {', '.join(ISOLATION_LEVELS)}.")
    level = f" ISOLATION LEVEL {isolation}" if isolation else ""
    return f"BEGIN{level}{' READ ONLY' if readonly else ''}"


def checked_context(given: Mapping[str, str | None]) -> dict[str, str]:
    """The parameters to set, without those that are None.

    Raises ValueError for a name that is no custom parameter's and TypeError for a value that is no
    text; asyncpg.CharacterNotInRepertoireError for text that PostgreSQL cannot hold, which is
    answered with 422 as it is in a statement.
    """
    context = {}
    for name, value in given.items():
        if not _CUSTOM.fullmatch(name):
            raise ValueError(
                f"The context has {name!r}: write a name of your own with a dot, such as app.user."
            )
        if value is None:
            continue
        if not isinstance(value, str):
            kind = type(value).__name__
            raise TypeError(f"The context's {name!r} is of type {kind}: give a str or None.")
        if "\0" in value or not _is_unicode(value):
            raise asyncpg.CharacterNotInRepertoireError(
                f"The context's {name!r} has a character that PostgreSQL cannot hold."
            )
        context[name] = value
    return context


def context_statement(context: Mapping[str, str]) -> str:
    """What sets a `checked_context` until the end of the transaction; empty for nothing.

    The values are literals, as they are sent with BEGIN, and that takes no parameters. In E'' both
    characters that mean something are doubled; that is so whatever standard_conforming_strings says
    (manual, "String Constants with C-Style Escapes").
    """
    calls = (f"set_config('{name}', {_literal(value)}, true)" for name, value in context.items())
    return f"{CONTEXT_MARK} SELECT {', '.join(calls)}" if context else ""


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _literal(text: str) -> str:
    doubled = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{doubled}'"


def is_watched(engine: AsyncEngine) -> bool:
    """Whether somebody listens to what SQLAlchemy does, or has it do something else.

    So with echo or the logger of the engine at INFO, with events, and with a schema_translate_map.
    """
    sync: Any = engine.sync_engine
    events, dialect, options = sync.dispatch, sync.dialect.dispatch, sync.get_execution_options()
    if sync.logger.isEnabledFor(logging.INFO) or "schema_translate_map" in options:
        return True
    if not (sync._has_events or sync.dialect._has_events):
        return False
    # For PgBouncer the engine itself hears of `begin`, and those who trace it of errors.
    return bool(
        _are_statements_heard(sync)
        or len(events.begin) > (AFTER_BEGIN in options)
        or events.commit
        or events.rollback
        or events.engine_connect
        or len(dialect.handle_error) > len(options.get(TRACERS, ()))
        or dialect.do_execute
        or dialect.do_execute_no_params
        or dialect.do_setinputsizes
    )


def is_altered(conn: AsyncConnection) -> bool:
    """Whether this connection has options or listeners that its engine has not."""
    sync: Any = conn.sync_connection
    options = sync.get_execution_options()
    return options != sync.engine.get_execution_options() or _are_statements_heard(sync)


def _are_statements_heard(sync: Any) -> bool:
    """Whether somebody listens to the statements of an engine or connection, besides tracers."""
    events, tracers = sync.dispatch, len(sync.get_execution_options().get(TRACERS, ()))
    return bool(
        len(events.before_cursor_execute) > tracers
        or len(events.after_cursor_execute) > tracers
        or events.before_execute
        or events.after_execute
    )
