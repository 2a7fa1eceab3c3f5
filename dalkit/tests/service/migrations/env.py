"""Alembic's entry point: connect by the service's settings and migrate, one process at a time.

A caller that is connected already (`db.sync`, tests) passes a synchronous Connection, which it has
from `await connection.run_sync(...)`, as `config.attributes["connection"]`.
"""

import asyncio
from logging.config import fileConfig

from alembic import context
from sqlalchemy import Connection

from dalkit.schema.migration_lock import migration_lock
from dalkit.schema.sync import manager_from_config
from dalkit.settings import Settings, load

from tests.service.tables import metadata

SCHEMAS = {table.schema for table in metadata.tables.values()} | {None}


def include_name(name: str | None, kind: str, parents: object) -> bool:
    """Say whether autogenerate looks at it: only the schemas that tables.py knows."""
    return kind != "schema" or name in SCHEMAS


def migrate(connection: Connection) -> None:
    """Migrate under the lock; each migration commits on its own, unless the caller has begun."""
    with migration_lock(connection):
        context.configure(
            connection=connection,
            target_metadata=metadata,
            transaction_per_migration=True,
            compare_server_default=True,
            include_schemas=True,
            include_name=include_name,
        )
        with context.begin_transaction():
            context.run_migrations()


async def connect_and_migrate() -> None:
    """Migrate the database of DATABASE_URL."""
    async with manager_from_config(load(Settings)).migration_connection() as connection:
        await connection.run_sync(migrate)


def write_sql() -> None:
    """Print the SQL instead of running it (`alembic upgrade head --sql`); needs no database."""
    context.configure(
        dialect_name="postgresql",
        target_metadata=metadata,
        transaction_per_migration=True,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if context.is_offline_mode():
    write_sql()
elif given is not None:
    migrate(given)
else:
    if context.config.cmd_opts is not None and context.config.config_file_name is not None:
        fileConfig(context.config.config_file_name, disable_existing_loggers=False)
    asyncio.run(connect_and_migrate())
