"""One migration at a time: an advisory lock of the session or of the caller's transaction."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

from .revisions import SyncError

LOCK_KEY = 0x616C656D626963  # "alembic" in ASCII
LOCK_WAIT = 600.0

logger = logging.getLogger("alembic.lock")


class MigrationLockError(SyncError):
    """Another migration held the lock for too long."""


@contextmanager
def migration_lock(connection: Connection, wait: float = LOCK_WAIT) -> Iterator[None]:
    """Hold the database's migration lock; waits at most `wait` seconds, then MigrationLockError.

    In a transaction of the caller's the lock lasts until that transaction ends, because what was
    migrated is invisible to others until then. Otherwise it is held for the block, across the
    transactions of the single migrations. It can be taken again by the connection that has it.
    """
    if connection.in_transaction():
        _wait_for(connection, "pg_try_advisory_xact_lock", wait)
        yield
        return
    with connection.begin():
        _wait_for(connection, "pg_try_advisory_lock", wait)
    try:
        yield
    finally:
        connection.rollback()
        with connection.begin():
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK_KEY})


def _wait_for(connection: Connection, function: str, wait: float) -> None:
    """Return when the lock is ours.

    It asks again and again, because a query that waits inside Postgres holds a snapshot, and the
    other migration's CREATE INDEX CONCURRENTLY waits for old snapshots: a deadlock. The pause is
    Postgres' too: time.sleep would stop the event loop that this connection runs on.
    """
    attempt = text(f"SELECT {function}(:key)")
    deadline = time.monotonic() + wait
    while not connection.scalar(attempt, {"key": LOCK_KEY}):
        if time.monotonic() >= deadline:
            raise MigrationLockError(
                f"Another migration of this database has been running for {wait:g} s. "
                "Look for its connection in pg_stat_activity, then try again."
            )
        logger.info("Another migration is running: waiting for it.")
        connection.execute(text("SELECT pg_sleep(0.2)"))
