"""Create or upgrade the schema and say whether it is up to date, from any kind of settings."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import Enum
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, NullPool
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from ..data.dal import DataAccessLayer
from ..data.engine import config_value, create_engine, engine_options
from ..data.faults import cause_of, unreachable
from ..data.urls import DatabaseUrlError, async_url
from .expected import Status
from .failures import SyncError
from .revisions import (
    alembic_config,
    compare,
    head_revision,
    migration_lock,
    revision_of,
)

# What a connection for migrations takes over from the service's: no limits, which are migrate()'s.
_CONNECTING = {"connect_timeout", "pgbouncer", "connect_args", "echo"}

# alembic keeps the running migration in module globals (alembic.context, alembic.op), so a process
# can run one at a time, whatever the number of its threads and event loops.
_alembic_is_busy = threading.Lock()


class SyncResult(Enum):
    """What `sync` did."""

    CREATED = "created"
    UPGRADED = "upgraded"
    ALREADY_UP_TO_DATE = "already up to date"


#: What a command prints for each.
SYNCED = {
    SyncResult.CREATED: "The database was created.",
    SyncResult.UPGRADED: "The database was upgraded.",
    SyncResult.ALREADY_UP_TO_DATE: "The database was already up to date.",
}


async def sync(config: object) -> SyncResult:
    """Upgrade the database to the newest revision; `config` as in `manager_from_config`.

    Returns what was done. Raises what `DatabaseManager.sync` does.
    """
    return await manager_from_config(config).sync()


async def status(config: object) -> Status:
    """Return whether an upgrade is available; raises SyncError as `sync` does."""
    return await manager_from_config(config).status()


def manager_from_config(config: object) -> "DatabaseManager":
    """Return the manager for a pydantic model, any other object, a plain dict, or a URL.

    Reads what `engine_options` does (`database_url`, the limits `database_...`, or the nested
    `sqlalchemy.url` and whatever else `sqlalchemy` has), and `alembic.migrations_path`.
    Raises SyncError without a usable URL.
    """
    url, migrations_path, options = arguments_from(config)
    return DatabaseManager(url, migrations_path, **options)


def arguments_from(config: object) -> tuple[str | URL, Path | str | None, dict[str, Any]]:
    """Return the URL, the folder of the migrations and the options of the engine."""
    if isinstance(config, str | URL):
        return config, None, {}
    options = engine_options(config)
    if "url" not in options:
        raise SyncError("DATABASE_URL is not set: give postgresql://user:password@host/database.")
    migrations_path = config_value(config_value(config, "alembic"), "migrations_path")
    return options.pop("url"), migrations_path, options


class DatabaseManager:
    """One database and its migrations; holds no connection.

    `engine_options` are arguments of `create_engine`. Raises SyncError for a URL that is no good.
    """

    def __init__(
        self, url: str | URL, migrations_path: Path | str | None = None, **engine_options: Any
    ) -> None:
        try:
            self.url = async_url(url)
        except DatabaseUrlError as error:
            raise SyncError(str(error)) from None
        self._migrations_path = migrations_path
        self._options = engine_options

    async def sync(self) -> SyncResult:
        """Create or upgrade the schema, after any migration that is running; return what was done.

        Each migration commits on its own. Raises SyncError, in words, if Postgres cannot be
        reached, if the migrations have more than one head or lack the database's revision.
        """
        config = alembic_config(self._migrations_path)
        head = head_revision(config)
        async with self.migration_connection() as connection:
            while not _alembic_is_busy.acquire(blocking=False):  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # not an Event: the other loop may be in another thread
            try:
                return await connection.run_sync(_upgrade, config, head)
            finally:
                _alembic_is_busy.release()

    async def status(self) -> Status:
        """Return whether an upgrade is available.

        Raises SyncError as `sync` does, so for a revision that the migrations do not have.
        """
        config = alembic_config(self._migrations_path)
        async with self.migration_connection() as connection:
            return _known(await connection.run_sync(revision_of), config)

    def connect(self, **options: Any) -> AbstractAsyncContextManager[DataAccessLayer]:
        """Return `DataAccessLayer.connect` for this database."""
        return DataAccessLayer.connect(self.url, **(self._options | options))

    @asynccontextmanager
    async def migration_connection(self) -> AsyncIterator[AsyncConnection]:
        """Connect without a pool and without a limit on statements; raises SyncError if that fails.

        Through PgBouncer the connection is in a transaction, which is committed at the end: in its
        transaction mode the lock of a session would stay behind on a connection of another's.
        """
        options = {name: self._options[name] for name in _CONNECTING & self._options.keys()}
        options |= {"application_name": "migration", "poolclass": NullPool}
        engine = create_engine(self.url, **options)
        began, connected = options.get("pgbouncer", False), False
        try:
            async with engine.begin() if began else engine.connect() as connection:
                connected = True
                yield connection
        except (OSError, DBAPIError) as error:
            message = unreachable(error, engine.url)
            if not message and connected:
                raise
            raise SyncError(message or cause_of(error, engine.url)) from error
        finally:
            await engine.dispose()


def _upgrade(connection: Connection, config: Config, head: str | None) -> SyncResult:
    began = connection.in_transaction()
    with migration_lock(connection):
        revision = revision_of(connection)
        if not began:
            connection.rollback()
        if revision == head:
            return SyncResult.ALREADY_UP_TO_DATE
        _known(revision, config)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return SyncResult.UPGRADED if revision else SyncResult.CREATED


def _known(revision: str | None, config: Config) -> Status:
    found = compare(revision, config)
    if found is Status.NEWER:
        raise SyncError(
            f"The database is at revision {revision}, which these migrations do not have: newer "
            "code has migrated it. Deploy that code, or restore a backup."
        )
    return found
