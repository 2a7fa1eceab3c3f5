"""Create or upgrade the schema and say whether it is up to date, from any kind of settings."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from ..data.dal import DataAccessLayer
from ..data.engine import config_value, engine_options
from ..data.urls import DatabaseUrlError, async_url
from .revisions import SyncError, alembic_config, head_revision, schema_revision
from .upgrade import Status, SyncResult, compare, migration_connection, upgrade

__all__ = [
    "DatabaseManager",
    "Status",
    "SyncError",
    "SyncResult",
    "alembic_config",
    "head_revision",
    "manager_from_config",
    "schema_revision",
    "status",
    "sync",
]


async def sync(config: object) -> SyncResult:
    """Upgrade the database to the newest revision; `config` as in `manager_from_config`.

    Waits for any migration that is running. Raises SyncError, in words, if Postgres cannot be
    reached or the migrations have more than one head.
    """
    return await manager_from_config(config).sync()


async def status(config: object) -> Status:
    """Return whether an upgrade is available; raises SyncError as `sync` does."""
    return await manager_from_config(config).status()


class DatabaseManager:
    """One database and its migrations; holds no connection. `options` are `create_engine`'s."""

    def __init__(
        self,
        url: str | URL,
        migrations_path: Path | str | None = None,
        **options: Any,
    ) -> None:
        try:
            self.url = async_url(url)
        except DatabaseUrlError as error:
            raise SyncError(str(error)) from None
        self._migrations_path = migrations_path
        self._options = options

    async def sync(self) -> SyncResult:
        """Create or upgrade the schema."""
        async with self.migration_connection() as connection:
            return await upgrade(connection, alembic_config(self._migrations_path))

    async def status(self) -> Status:
        """Return whether an upgrade is available."""
        async with self.migration_connection() as connection:
            return await compare(connection, alembic_config(self._migrations_path))

    def connect(self, **options: Any) -> AbstractAsyncContextManager[DataAccessLayer]:
        """Return `DataAccessLayer.connect` for this database."""
        return DataAccessLayer.connect(self.url, **(self._options | options))

    def migration_connection(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Return a context with one connection outside any pool, for migrations."""
        connecting = {"pgbouncer", "connect_timeout", "connect_args"}
        own = {name: value for name, value in self._options.items() if name in connecting}
        return migration_connection(self.url, **own)


def manager_from_config(config: object) -> DatabaseManager:
    """Return the manager for a pydantic model, any other object, a plain dict, or a URL.

    Reads what `engine_options` does (`database_url`, the limits `database_...`, or the nested
    `sqlalchemy.url` and whatever else `sqlalchemy` has), and `alembic.migrations_path`.
    Raises SyncError without a usable URL.
    """
    if isinstance(config, str | URL):
        return DatabaseManager(config)
    options = engine_options(config)
    if "url" not in options:
        raise SyncError("DATABASE_URL is not set: give postgresql://user:password@host/database.")
    migrations_path = config_value(config_value(config, "alembic"), "migrations_path")
    return DatabaseManager(migrations_path=migrations_path, **options)
