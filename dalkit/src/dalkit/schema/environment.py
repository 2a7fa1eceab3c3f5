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

from alembic import command, context, op
from alembic.script import write_hooks
from sqlalchemy import ARRAY, Connection, MetaData, Text, bindparam, text
from sqlalchemy.exc import DBAPIError

from ..errors import sqlstate_of
from ..settings import Settings, load
from .expected import console_script, typed_here
from .failures import SyncError, reason_of, run_in_words
from .manager import manager_from_config
from .revisions import folders_of, migration_lock, revision_of, scripts_of

#: How long a migration waits for a table that a running transaction holds, in seconds. Meanwhile
#: every later query of that table queues up behind it: rather fail, and try at a quieter time.
LOCK_TIMEOUT = 5.0
#: How long a statement of a migration may take, in seconds: as long, and until its transaction
#: ends, it may hold a lock that stops the service. What locks nothing is for `concurrently`.
STATEMENT_TIMEOUT = 60.0

#: SQLSTATE (PostgreSQL, appendix A).
UNIQUE_VIOLATION = "23505"

# One of pg_class, and so of the schema that the search path finds first.
_INVALID = text(
    "SELECT name FROM unnest(:names) AS name "
    "JOIN pg_index ON indexrelid = to_regclass(name) AND NOT indisvalid"
).bindparams(bindparam("names", type_=ARRAY(Text)))


def migrate(
    metadata: MetaData | Sequence[MetaData],
    settings: object,
    *,
    lock_timeout: float = LOCK_TIMEOUT,
    statement_timeout: float = STATEMENT_TIMEOUT,
) -> None:
    """Do what alembic was started for; a service's migrations/env.py is a call of this.

    `metadata` is that of tables.py, or `[metadata, Base.metadata]` with the models of dalkit.orm; a
    table that is in several is compared with the last. `settings`, a class of dalkit's Settings or
    what `manager_from_config` takes, say where the database is; times are in seconds and 0 means no
    limit. A caller that is connected already (`sync`, tests) passes a synchronous
    Connection, which it has from `await connection.run_sync(...)`, as
    `config.attributes["connection"]`. Migrations run one process at a time, and each commits on its
    own, unless the caller has begun a transaction. A new one gets the next number, as in
    0002_add_price. Raises SyncError in words: when two migrations have one number, when one fails
    or a limit ended it, or when autogenerate would compare with a tables.py that was not written
    since the last migration.
    """
    config = context.config
    metadata = metadata if isinstance(metadata, MetaData) else joined(metadata)
    folders = folders_of(scripts_of(config))
    seconds = {"lock_timeout": lock_timeout, "statement_timeout": statement_timeout}
    limits = {name: f"{round(value * 1000)}ms" for name, value in seconds.items()}
    configure = partial(
        context.configure,
        limits=limits,
        target_metadata=metadata,
        transaction_per_migration=True,
        process_revision_directives=lambda it, _, made: _finish(it, made, settings),
        **comparison(metadata),
    )

    def run(connection: Connection) -> None:
        is_callers = connection.in_transaction()
        with migration_lock(connection), _limited(connection, limits):
            is_recorded = revision_of(connection) is not None
            if not is_callers:
                connection.rollback()
            with run_in_words(connection, folders, is_recorded=is_recorded):
                configure(connection=connection, in_callers_transaction=is_callers)
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


@contextmanager
def concurrently(*indexes: str) -> Iterator[None]:
    """Run statements of a migration outside of its transaction, and for as long as they take.

    For those that let others read and write meanwhile: CREATE, DROP and REINDEX INDEX CONCURRENTLY,
    VALIDATE CONSTRAINT, rows that are filled lot by lot. They wait for all older transactions, so
    that the limits of a migration would end them half done. What the migration did before is
    committed, and it starts from its begin when it is tried again.

    `indexes` are the names, with a schema where it is not the first of the search path, of those
    that are built in the block, with `if_not_exists=True`. A build that failed has left one that is
    not valid, which costs at each write and answers no query: it is dropped first. Raises SyncError
    when the build fails, and in a transaction of the caller's.
    """
    migration = op.get_context()
    if migration.opts.get("in_callers_transaction"):
        raise SyncError(
            "`with concurrently():` cannot run in a transaction that is open already: migrate "
            "over a connection without one, and past PgBouncer (DATABASE_PGBOUNCER=false)."
        )
    with migration.autocommit_block():
        for name in migration.opts["limits"]:
            op.execute(f"SET {name} = 0")
        for name in _invalid(indexes):
            op.execute(f"DROP INDEX CONCURRENTLY {name}")
        try:
            yield
        except DBAPIError as error:
            if left := _invalid(indexes):
                twice = "make the rows differ that have the same values, then "
                first = twice if sqlstate_of(error) == UNIQUE_VIOLATION else ""
                raise SyncError(
                    f"The index {', '.join(left)} could not be built ({reason_of(error)}), and "
                    f"what is there of it is not valid: {first}migrate again, which drops it and "
                    "builds it anew."
                ) from error
            raise
        for name, value in migration.opts["limits"].items():
            op.execute(f"SET {name} = '{value}'")


def _invalid(indexes: Sequence[str]) -> list[str]:
    """Return those that an earlier build has left unfinished; SQL on paper asks nobody."""
    if not indexes or context.is_offline_mode():
        return []
    connection = op.get_bind()
    if connection.invalidated or connection.closed:
        return []
    return list(connection.scalars(_INVALID, {"names": list(indexes)}))


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
    """Correct a new migration as ruff can and format it, where that is installed."""
    if find_spec("ruff") is not None:
        ruff = [sys.executable, "-m", "ruff"]
        subprocess.run([*ruff, "check", "--quiet", "--fix-only", path], check=False)  # noqa: S603
        subprocess.run([*ruff, "format", "--quiet", path], check=False)  # noqa: S603
