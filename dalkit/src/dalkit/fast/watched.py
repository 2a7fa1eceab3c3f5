"""Tells when statements have to run through SQLAlchemy because somebody listens there.

`_has_events` is SQLAlchemy's own shortcut: whether anybody ever listened to an engine or a dialect.
"""

import logging
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from .wire import AFTER_BEGIN, TRACERS


def is_watched(engine: AsyncEngine) -> bool:
    """Whether somebody listens to what SQLAlchemy does, or has it do something else.

    So with echo or the logger of the engine at INFO, with events, and with a schema_translate_map.
    """
    sync: Any = engine.sync_engine
    return bool(
        ((sync._has_events or sync.dialect._has_events) and _is_heard_by_others(sync))
        or sync.logger.isEnabledFor(logging.INFO)
        or "schema_translate_map" in sync.get_execution_options()
    )


def _is_heard_by_others(sync: Any) -> bool:
    """Whether somebody else than the engine itself listens: for PgBouncer that hears of `begin`."""
    events, dialect, options = sync.dispatch, sync.dialect.dispatch, sync.get_execution_options()
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
