"""One migration at a time: an advisory lock of the session or of the caller's transaction."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import count

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
    is_callers = connection.in_transaction()
    begin = nullcontext if is_callers else connection.begin
    lock = text(f"SELECT pg_try_advisory{'_xact' if is_callers else ''}_lock({LOCK_KEY})")
    deadline = time.monotonic() + wait
    # Asked again and again, in a transaction each: the other migration's CREATE INDEX CONCURRENTLY
    # waits for every transaction that had a snapshot, and so for a query that waits for the lock: a
    # deadlock. The pause is Postgres' too, as time.sleep would stop this connection's event loop.
    for attempt in count():
        with begin():
            if connection.scalar(lock):
                break
        if time.monotonic() >= deadline:
            raise SyncError(
                f"Another migration of this database has been running for {wait:g} s. "
                "Look for its connection in pg_stat_activity, then try again."
            )
        if attempt == 0:
            logger.info("Another migration is running: waiting for it.")
        with begin():
            connection.execute(text("SELECT pg_sleep(0.2)"))
    try:
        yield
    finally:
        if not is_callers:
            connection.rollback()
            with connection.begin():
                connection.execute(text(f"SELECT pg_advisory_unlock({LOCK_KEY})"))
