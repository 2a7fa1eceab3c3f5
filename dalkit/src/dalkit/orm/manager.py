"""A database with an engine and sessions of its own, for services without a DataAccessLayer."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from ..data.engine import create_engine
from ..data.session import HintingSession
from ..schema.failures import SyncError
from ..schema.manager import SYNCED, DatabaseManager, arguments_from, sync

#: The managers of `manager_from_config` by event loop, as connections belong to one.
_managers: dict[asyncio.AbstractEventLoop, dict[str, "AsyncDatabaseManager"]] = {}


class AsyncDatabaseManager(DatabaseManager):
    """One database, its migrations and an engine; `Session` makes sessions.

    `engine_options` are arguments of dalkit's `create_engine`. Raises SyncError for a URL that is
    no good, and for another database than PostgreSQL.
    """

    def __init__(
        self, url: str | URL, migrations_path: Path | str | None = None, **engine_options: Any
    ) -> None:
        super().__init__(url, migrations_path, **engine_options)
        self.engine = create_engine(self.url, **engine_options)
        #: `async with manager.Session() as session:`; whoever uses it commits.
        self.Session: async_sessionmaker[AsyncSession] = async_sessionmaker(
            self.engine, expire_on_commit=False, sync_session_class=HintingSession
        )

    async def dispose(self) -> None:
        """Close the connections of the pool."""
        await self.engine.dispose()


def manager_from_config(config: object) -> AsyncDatabaseManager:
    """Return the manager for a pydantic model, any other object, a dict, or a URL.

    It reads what dalkit.schema's `manager_from_config` does. Within an event loop the same settings
    give the same manager, and so one pool: it may be called for each request. Raises SyncError.
    """
    url, migrations_path, options = arguments_from(config)
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # a command, or an import
        return AsyncDatabaseManager(url, migrations_path, **options)
    for closed in [one for one in _managers if one.is_closed()]:
        del _managers[closed]
    known = _managers.setdefault(loop, {})
    address = url.render_as_string(hide_password=False) if isinstance(url, URL) else url
    key = repr((address, migrations_path, sorted(options.items())))
    if key not in known:
        known[key] = AsyncDatabaseManager(url, migrations_path, **options)
    return known[key]


async def make_db_session(manager: AsyncDatabaseManager) -> AsyncIterator[AsyncSession]:
    """Yield a session, for a dependency with `yield`; commit at the end, or roll back.

    FastAPI runs that end after the response has left, unless the dependency is declared with
    `Depends(..., scope="function")`. `Session` of dalkit.orm always commits before.
    """
    async with manager.Session() as session:
        yield session
        await session.commit()


def syncdb(config: object) -> None:
    """Create or upgrade the schema and print which of the two was done, if any, as a command does.

    `config` is as in `manager_from_config`. A failure ends the command: one line on standard error
    and exit status 1.
    """
    try:
        print(SYNCED[asyncio.run(sync(config))])  # noqa: T201
    except SyncError as error:
        raise SystemExit(str(error)) from None
