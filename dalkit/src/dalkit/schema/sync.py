"""Create or upgrade the schema and say whether it is up to date, from any kind of settings."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from ..data.dal import DataAccessLayer
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
    """One database and its migrations; holds no connection."""

    def __init__(
        self,
        url: str | URL,
        migrations_path: Path | str | None = None,
        *,
        pgbouncer: bool = False,
        **engine_options: Any,
    ) -> None:
        try:
            self.url = async_url(url)
        except DatabaseUrlError as error:
            raise SyncError(str(error)) from None
        self._migrations_path = migrations_path
        self._pgbouncer = pgbouncer
        self._engine_options = engine_options

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
        options = {"pgbouncer": self._pgbouncer} | self._engine_options | options
        return DataAccessLayer.connect(self.url, **options)

    def migration_connection(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Return a context with one connection outside any pool, for migrations."""
        return migration_connection(self.url, pgbouncer=self._pgbouncer)


def manager_from_config(config: object) -> DatabaseManager:
    """Return the manager for a pydantic model, any other object, a plain dict, or a URL.

    Reads `database_url` and `database_pgbouncer`, or the nested `sqlalchemy.url` and
    `alembic.migrations_path`; whatever else a dict has beside `sqlalchemy.url` goes to the engine.
    The config is never changed. Raises SyncError without a usable URL.
    """
    if isinstance(config, str | URL):
        return DatabaseManager(config)
    nested = _read(config, "sqlalchemy")
    url = _read(config, "database_url") if nested is None else _read(nested, "url")
    if url is None:
        raise SyncError("DATABASE_URL is not set: give postgresql://user:password@host/database.")
    if isinstance(url, SecretStr):
        url = url.get_secret_value()
    options = {"pgbouncer": _read(config, "database_pgbouncer") or False}
    if isinstance(nested, Mapping):
        options |= {name: value for name, value in nested.items() if name != "url"}
    migrations_path = _read(_read(config, "alembic"), "migrations_path")
    return DatabaseManager(url if isinstance(url, URL) else str(url), migrations_path, **options)


def _read(config: Any, name: str) -> Any:
    """Return the item or the attribute, None without it."""
    return config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)
