"""Run alembic's upgrade on an asyncpg connection, one process at a time."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, NullPool
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from ..data.engine import create_engine
from ..data.errors import sqlstate_of
from ..data.faults import unreachable
from .migration_lock import migration_lock
from .revisions import SyncError, head_revision, revision_of, schema_revision

# How long a migration waits for a table that a running transaction holds, in seconds. Meanwhile
# every later query of that table queues up behind it: rather fail, and try at a quieter time.
LOCK_TIMEOUT = 5.0

# PostgreSQL, appendix A: the SQLSTATEs of a migration that cannot be applied as things are.
_BLOCKED = {
    "42P07": "The database has the tables of a migration that it has no record of ({reason}). "
    "Record the revision with alembic stamp <revision>, or start from an empty database.",
    "55P03": "A migration waited more than {seconds:g} s for a table that a running transaction "
    "holds, and nothing of it was applied. Try again when less is going on.",
}

# alembic keeps the running migration in module globals (alembic.context, alembic.op), so a process
# can run one at a time, whatever the number of its threads and event loops.
_alembic_is_busy = threading.Lock()


class SyncResult(Enum):
    """What `sync` did."""

    CREATED = "created"
    UPGRADED = "upgraded"
    ALREADY_UP_TO_DATE = "already up to date"


class Status(Enum):
    """How the database compares with the migrations."""

    NO_INFO = "no info"
    UPGRADE_AVAILABLE = "upgrade available"
    UP_TO_DATE = "up to date"


@asynccontextmanager
async def migration_connection(
    url: str | URL, *, pgbouncer: bool = False, **options: Any
) -> AsyncIterator[AsyncConnection]:
    """Connect without a pool and without a limit on statements; raises SyncError if that fails.

    Through PgBouncer the connection is in a transaction, which is committed at the end: in its
    transaction mode the lock of a session would stay behind on a connection of another's.
    """
    engine = create_engine(
        url,
        lock_timeout=LOCK_TIMEOUT,
        pgbouncer=pgbouncer,
        application_name="migration",
        poolclass=NullPool,
        **options,
    )
    try:
        async with engine.begin() if pgbouncer else engine.connect() as connection:
            yield connection
    except (OSError, DBAPIError) as error:
        message = unreachable(error, engine.url) or _blocked(error)
        if message is None:
            raise
        raise SyncError(message) from error
    finally:
        await engine.dispose()


def _blocked(error: BaseException) -> str | None:
    sentence = _BLOCKED.get(sqlstate_of(error) or "")
    reason = getattr(getattr(error, "orig", None), "__cause__", None)
    return sentence and sentence.format(reason=reason, seconds=LOCK_TIMEOUT)


async def upgrade(connection: AsyncConnection, config: Config) -> SyncResult:
    """Upgrade to the newest revision, after any migration that is running; commits each step."""
    head = head_revision(config)
    while not _alembic_is_busy.acquire(blocking=False):  # noqa: ASYNC110
        await asyncio.sleep(0.05)  # not an Event: the other loop may be in another thread
    try:
        return await connection.run_sync(_upgrade, config, head)
    finally:
        _alembic_is_busy.release()


def _upgrade(connection: Connection, config: Config, head: str | None) -> SyncResult:
    began = connection.in_transaction()
    with migration_lock(connection):
        revision = revision_of(connection)
        if not began:
            connection.rollback()
        if revision == head:
            return SyncResult.ALREADY_UP_TO_DATE
        if revision is not None:
            _refuse_unknown(revision, config)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return SyncResult.UPGRADED if revision else SyncResult.CREATED


async def compare(connection: AsyncConnection, config: Config) -> Status:
    """Return how the database's revision compares with the newest one.

    Raises SyncError for a revision that the migrations do not have.
    """
    head = head_revision(config)
    revision = await schema_revision(connection)
    if revision is None:
        return Status.NO_INFO
    if revision == head:
        return Status.UP_TO_DATE
    _refuse_unknown(revision, config)
    return Status.UPGRADE_AVAILABLE


def _refuse_unknown(revision: str, config: Config) -> None:
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    if revision not in {script.revision for script in scripts}:
        raise SyncError(
            f"The database is at revision {revision}, which these migrations do not have: newer "
            "code has migrated it. Deploy that code, or restore a backup."
        )
