"""One migration at a time: an advisory lock of the session or of the caller's transaction."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import count
from typing import Any

from sqlalchemy import Connection, text

from .revisions import SyncError

LOCK_KEY = 0x616C656D626963  # "alembic" in ASCII
LOCK_WAIT = 600.0

logger = logging.getLogger("alembic.lock")


@contextmanager
def migration_lock(connection: Connection, wait: float = LOCK_WAIT) -> Iterator[None]:
    """Hold the database's migration lock; waits at most `wait` seconds, then SyncError.

    In a transaction of the caller's the lock lasts until that transaction ends, because what was
    migrated is invisible to others until then. Otherwise it is held for the block, across the
    transactions of the single migrations. It can be taken again by the connection that has it.
    """
    if connection.in_transaction():
        _wait_for(connection, "pg_try_advisory_xact_lock", wait, nullcontext)
        yield
        return
    _wait_for(connection, "pg_try_advisory_lock", wait, connection.begin)
    try:
        yield
    finally:
        connection.rollback()
        with connection.begin():
            connection.execute(text(f"SELECT pg_advisory_unlock({LOCK_KEY})"))


def _wait_for(connection: Connection, function: str, wait: float, begin: Callable[[], Any]) -> None:
    """Return when the lock is ours.

    It asks again and again, in a transaction each: the other migration's CREATE INDEX CONCURRENTLY
    waits for every transaction that had a snapshot, and so for a query that waits for the lock: a
    deadlock. The pause is Postgres' too, as time.sleep would stop this connection's event loop.
    """
    deadline = time.monotonic() + wait
    for attempt in count():
        with begin():
            if connection.scalar(text(f"SELECT {function}({LOCK_KEY})")):
                return
        if time.monotonic() >= deadline:
            raise SyncError(
                f"Another migration of this database has been running for {wait:g} s. "
                "Look for its connection in pg_stat_activity, then try again."
            )
        if attempt == 0:
            logger.info("Another migration is running: waiting for it.")
        with begin():
            connection.execute(text("SELECT pg_sleep(0.2)"))
