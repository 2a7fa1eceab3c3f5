"""Tells when statements have to run through SQLAlchemy because somebody listens there."""

import logging
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from .wire import AFTER_BEGIN


def is_watched(engine: AsyncEngine) -> bool:
    """Whether somebody listens to what SQLAlchemy does, or has it do something else.

    So with echo or the logger of the engine at INFO, with events, and with a schema_translate_map.
    """
    sync = engine.sync_engine
    events: Any = sync.dispatch
    options = sync.get_execution_options()
    return bool(
        _is_heard(events)
        or len(events.begin) > (AFTER_BEGIN in options)  # the engine's own listener for PgBouncer
        or events.commit
        or events.rollback
        or sync.dialect.dispatch.handle_error
        or sync.logger.isEnabledFor(logging.INFO)
        or "schema_translate_map" in options
    )


def is_altered(conn: AsyncConnection) -> bool:
    """Whether this connection has options or listeners that its engine has not."""
    sync: Any = conn.sync_connection
    return sync.get_execution_options() != sync.engine.get_execution_options() or _is_heard(
        sync.dispatch
    )


def _is_heard(events: Any) -> bool:
    return bool(
        events.before_cursor_execute
        or events.after_cursor_execute
        or events.before_execute
        or events.after_execute
    )
