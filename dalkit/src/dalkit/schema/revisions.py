"""The schema's revision: which one the migrations end with, which one the database has."""

import os
from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection


class SyncError(CommandError):
    """The schema cannot be brought up to date; the message says why and what to do."""


def alembic_config(migrations_path: Path | str | None = None) -> Config:
    """Return alembic's configuration, for the folder of migrations or from alembic.ini.

    That file is the one named by ALEMBIC_CONFIG, else the one in the working directory. Raises
    SyncError without any.
    """
    if migrations_path is None:
        return Config(str(_alembic_ini()))
    config = Config()
    config.set_main_option("script_location", str(migrations_path).replace("%", "%%"))
    return config


def _alembic_ini() -> Path:
    path = Path(os.environ.get("ALEMBIC_CONFIG") or "alembic.ini").absolute()
    if not path.is_file():
        raise SyncError(f"No alembic.ini at {path}: set ALEMBIC_CONFIG to its path.")
    return path


def head_revision(config: Config | None = None) -> str | None:
    """Return the newest revision of the migrations, None without any; uses no database.

    Without `config` the files are read once in a process. Raises SyncError for more than one head:
    two branches were merged, and alembic cannot know which of their migrations goes first.
    """
    return _newest(config) if config else _own_head(_alembic_ini())


@cache
def _own_head(alembic_ini: Path) -> str | None:
    return _newest(Config(str(alembic_ini)))


def _newest(config: Config) -> str | None:
    heads = sorted(ScriptDirectory.from_config(config).get_heads())
    if len(heads) > 1:
        raise SyncError(
            f"The migrations end in {len(heads)} heads ({', '.join(heads)}), so there is no newest "
            'one: join them with alembic merge heads -m "merge", or rebase one onto the other.'
        )
    return heads[0] if heads else None


def is_known(revision: str, config: Config | None = None) -> bool:
    """Return whether the migrations have this revision; if not, newer code has made it."""
    scripts = ScriptDirectory.from_config(config or alembic_config())
    return revision in {script.revision for script in scripts.walk_revisions()}


async def schema_revision(connection: AsyncConnection) -> str | None:
    """Return the revision that the database has, None if it was never migrated."""
    return await connection.run_sync(revision_of)


def revision_of(connection: Connection) -> str | None:
    """Return what `schema_revision` does, for a synchronous connection."""
    return ", ".join(sorted(MigrationContext.configure(connection).get_current_heads())) or None
