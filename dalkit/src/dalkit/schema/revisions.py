"""Revisions: which one the migrations end with, which one a database has, who may change it."""

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from itertools import count
from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from .expected import HIDDEN_REVISION, Status, alembic_ini
from .failures import SyncError, import_in_words

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Names of constraints and indexes, the same in every database, so that errors can be mapped."""

_REVISION = re.compile(r"""^revision\b[^=\n]*= *["'](.+?)["']""", re.MULTILINE)


def alembic_config(migrations_path: Path | str | None = None) -> Config:
    """Return alembic's configuration, for the folder of migrations or from alembic.ini.

    That file is the one named by ALEMBIC_CONFIG, else the one in the working directory. Raises
    SyncError without any.
    """
    if migrations_path is not None:
        config = Config()
        config.set_main_option("script_location", str(migrations_path).replace("%", "%%"))
        return config
    path = alembic_ini()
    if not path.is_file():
        raise SyncError(f"No alembic.ini at {path}: set ALEMBIC_CONFIG to its path.")
    return Config(str(path))


def head_revision(config: Config | None = None) -> str | None:
    """Return the newest revision of the migrations, None without any; uses no database.

    Without `config` the files are read once in a process. Raises SyncError for more than one head:
    two branches were merged, and alembic cannot know which of their migrations goes first.
    """
    if config is None:
        return _own_head(str(alembic_config().config_file_name))
    heads = sorted(scripts_of(config).get_heads())
    if len(heads) > 1:
        raise SyncError(
            f"The migrations end in {len(heads)} heads ({', '.join(heads)}), so there is no newest "
            'one: join them with alembic merge heads -m "merge", or rebase one onto the other.'
        )
    return heads[0] if heads else None


@cache
def _own_head(alembic_ini: str) -> str | None:
    return head_revision(Config(alembic_ini))


def scripts_of(config: Config) -> ScriptDirectory:
    """Return the migrations, which are imported.

    Raises SyncError for one that cannot be, and when two have one number: alembic would drop one.
    """
    scripts = ScriptDirectory.from_config(config)
    folders = folders_of(scripts)
    numbered: dict[str, str] = {}
    for file in sorted(file for folder in folders for file in folder.glob("*.py")):
        found = _REVISION.search(file.read_text("utf-8"))
        if found and (other := numbered.setdefault(found[1], file.name)) != file.name:
            raise SyncError(
                f"Two migrations are number {found[1]}, {other} and {file.name}: two branches "
                "added one each. Give the one that is not deployed yet the next free number, in "
                f"its name and as its revision, and {found[1]!r} as its down_revision."
            )
    with import_in_words(folders):
        scripts.get_heads()
    return scripts


def folders_of(scripts: ScriptDirectory) -> list[Path]:
    """Return where the files of the migrations are."""
    named = scripts.version_locations or [f"{scripts.dir}/versions"]
    return [Path(folder).resolve() for folder in named]


def compare(revision: str | None, config: Config | None = None) -> Status:
    """Return how the revision that a database has compares with the newest of the migrations."""
    if revision == head_revision(config):
        return Status.UP_TO_DATE
    if revision is None:
        return Status.NO_INFO
    scripts = scripts_of(config or alembic_config()).walk_revisions()
    is_known = revision in {script.revision for script in scripts}
    return Status.UPGRADE_AVAILABLE if is_known else Status.NEWER


def revision_of(connection: Connection) -> str | None:
    """Return the revision that the database has, None if it was never migrated.

    Raises SyncError when the role cannot see which.
    """
    found = sorted(MigrationContext.configure(connection).get_current_heads())
    if not found and (hidden := connection.exec_driver_sql(HIDDEN_REVISION).scalar()):
        raise SyncError(hidden)
    return ", ".join(found) or None


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
