"""What a service's migrations/env.py does: alembic's environment for typed tables and asyncpg."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from logging.config import fileConfig
from typing import Any, TypeGuard

from alembic import command, context
from alembic.script import write_hooks
from sqlalchemy import Connection, MetaData, text

from ..settings import Settings, load
from .expected import console_script, typed_here
from .manager import manager_from_config
from .revisions import SyncError, migration_lock, scripts_of

#: How long a migration waits for a table that a running transaction holds, in seconds. Meanwhile
#: every later query of that table queues up behind it: rather fail, and try at a quieter time.
LOCK_TIMEOUT = 5.0


def migrate(
    metadata: MetaData | Sequence[MetaData],
    settings: object,
    *,
    lock_timeout: float = LOCK_TIMEOUT,
    statement_timeout: float = 0,
) -> None:
    """Do what alembic was started for; a service's migrations/env.py is a call of this.

    `metadata` is that of tables.py, or `[metadata, Base.metadata]` with the models of dalkit.orm; a
    table that is in several is compared with the last. `settings`, a class of dalkit's Settings or
    what `manager_from_config` takes, say where the database is; times are in seconds and 0 means no
    limit. A caller that is connected already (`sync`, tests) passes a synchronous
    Connection, which it has from `await connection.run_sync(...)`, as
    `config.attributes["connection"]`. Migrations run one process at a time, and each commits on its
    own, unless the caller has begun a transaction. A new one gets the next number, as in
    0002_add_price. Raises SyncError in words: when two migrations have one number, or when
    autogenerate would compare with a tables.py that was not written since the last migration.
    """
    config = context.config
    metadata = metadata if isinstance(metadata, MetaData) else joined(metadata)
    scripts_of(config)
    configure = partial(
        context.configure,
        target_metadata=metadata,
        transaction_per_migration=True,
        process_revision_directives=lambda it, _, made: _finish(it, made, settings),
        **comparison(metadata),
    )

    seconds = {"lock_timeout": lock_timeout, "statement_timeout": statement_timeout}
    limits = {name: f"{round(value * 1000)}ms" for name, value in seconds.items()}

    def run(connection: Connection) -> None:
        with migration_lock(connection), _limited(connection, limits):
            configure(connection=connection)
            with context.begin_transaction():
                context.run_migrations()

    async def connect_and_run() -> None:
        found = load(settings) if _is_class_of_settings(settings) else settings
        async with manager_from_config(found).migration_connection() as connection:
            await connection.run_sync(run)

    options, given = config.cmd_opts, config.attributes.get("connection")
    # `alembic revision` without --autogenerate needs no database.
    empty = options and options.cmd[0] is command.revision and not options.autogenerate
    if context.is_offline_mode() or empty:
        configure(dialect_name="postgresql", literal_binds=True, as_sql=True)
        for name, value in () if empty else limits.items():
            context.execute(f"SET {name} = '{value}'")
        with context.begin_transaction():
            context.run_migrations()
    elif given is not None:
        run(given)
    else:
        if options is not None and config.file_config.has_section("loggers"):
            fileConfig(str(config.config_file_name), disable_existing_loggers=False)
        asyncio.run(connect_and_run())


def joined(several: Sequence[MetaData]) -> MetaData:
    """Return one MetaData with the tables of all; where two have one name, the last one's.

    The typed tables of a database that was migrated have those of the models, too. What is said of
    the typed tables (`info`) is kept.
    """
    whole = MetaData(naming_convention=several[0].naming_convention)
    for metadata in reversed(several):
        whole.info |= metadata.info
        for name, table in metadata.tables.items():
            if name not in whole.tables:
                table.to_metadata(whole)
    return whole


def comparison(metadata: MetaData) -> dict[str, Any]:
    """Return how autogenerate compares: in the schemas of these tables, server defaults, too."""
    schemas = {table.schema for table in metadata.tables.values()} or {None}
    return {
        "include_schemas": True,
        "include_name": lambda name, kind, _: kind != "schema" or name in schemas,
        "compare_server_default": True,
    }


@contextmanager
def _limited(connection: Connection, limits: dict[str, str]) -> Iterator[None]:
    """Set the limits for the caller's transaction, or else for the block."""
    local = connection.in_transaction()
    before = {name: connection.scalar(text(f"SHOW {name}")) for name in limits}
    _set(connection, limits, local=local)
    try:
        yield
    finally:
        if not local:
            connection.rollback()
            _set(connection, before, local=False)


def _set(connection: Connection, values: dict[str, Any], *, local: bool) -> None:
    for name, value in values.items():
        call = text("SELECT set_config(:name, :value, :local)")
        connection.execute(call, {"name": name, "value": value, "local": local})
    if not local:
        connection.commit()


def _is_class_of_settings(settings: object) -> TypeGuard[type[Settings]]:
    return isinstance(settings, type) and issubclass(settings, Settings)


def _finish(context: Any, directives: list[Any], settings: object) -> None:
    """Give a new migration the next number, unless it was given a --rev-id.

    Raises SyncError when autogenerate compared with a tables.py that is older than the database:
    what was migrated since would be taken for something to drop.
    """
    creating = context.opts["revision_context"]
    written = context.opts["target_metadata"].info.get("revision")
    revision = ", ".join(sorted(context.get_current_heads()))
    if creating.command_args["autogenerate"] and written not in (None, revision):
        script = console_script(settings) if isinstance(settings, type) else None
        how = typed_here("db ARGS=tables", f"{script} db tables") if script else "db tables"
        raise SyncError(
            f"tables.py was written from revision {written}, and the database is at {revision}: "
            f"run `{how}` first, or what was migrated since would be proposed for dropping."
        )
    # It becomes a docstring, in which neither a compiler nor a linter takes every character.
    message = creating.command_args["message"] or ""
    shown = "".join(c if c.isprintable() else " " for c in message)
    directives[0].message = " ".join(shown.split()) or "change the schema"
    if creating.command_args["rev_id"] is None:
        scripts = creating.script_directory.walk_revisions()
        numbers = [int(s.revision) for s in scripts if re.fullmatch(r"\d{4}", s.revision)]
        directives[0].rev_id = f"{max(numbers, default=0) + 1:04d}"


@write_hooks.register("dalkit")
def _format(path: str, _: object) -> None:
    """Remove unused imports of a new migration and format it, where ruff is installed."""
    if find_spec("ruff") is not None:
        ruff = [sys.executable, "-m", "ruff"]
        subprocess.run([*ruff, "check", "--quiet", "--fix-only", path], check=False)  # noqa: S603
        subprocess.run([*ruff, "format", "--quiet", path], check=False)  # noqa: S603
