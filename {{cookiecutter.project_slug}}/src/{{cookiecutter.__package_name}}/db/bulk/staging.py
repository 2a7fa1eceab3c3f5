"""The temporary table that a file is copied into."""

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import CheckConstraint, Column, MetaData, Table, text
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateColumn

Columns = Sequence[Column[Any]]


async def create_staging(
    conn: AsyncConnection, like: Table | None, names: Iterable[str] | None, columns: Columns
) -> Table:
    """Create a temporary table that is dropped at the end of the transaction, and return it.

    It has the columns of the table `like` (the ones in `names`, if given) with their CHECK and NOT
    NULL constraints, and the given columns with theirs: a bad value is found while its row is
    known. A column that has a default may be left out. Raises LookupError for an unknown name.
    """
    copied = [] if like is None else _chosen(like, names)
    staging = Table(
        f"staging_{secrets.token_hex(8)}",  # unique, and not known to the author of the file
        MetaData(),
        *(Column(c.name, c.type, nullable=not _is_required(c)) for c in copied),
        *map(_copy, columns),
    )
    await conn.exec_driver_sql(_create(conn.dialect, staging, like, columns))
    if like is not None and (actions := _actions(conn.dialect, staging, like)):
        name = conn.dialect.identifier_preparer.format_table(staging)
        await conn.exec_driver_sql(f"ALTER TABLE {name} {', '.join(actions)}")
    return staging


async def checked_columns(conn: AsyncConnection, staging: Table) -> dict[str, str]:
    """The column of every CHECK constraint that is about a single one, by the constraint's name."""
    rows = await conn.execute(_CHECKED_COLUMNS, {"staging": staging.name})
    return {row.conname: row.attname for row in rows}


_CHECKED_COLUMNS = text(
    "SELECT conname, min(attname) AS attname FROM pg_constraint "
    "JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey) "
    "WHERE conrelid = to_regclass(:staging) AND contype = 'c' "
    "GROUP BY conname HAVING count(*) = 1"
)


def _chosen(table: Table, names: Iterable[str] | None) -> list[Column[Any]]:
    if names is None:
        return [column for column in table.c if column.computed is None]
    wanted = list(names)
    for name in wanted:
        if name not in table.c:
            known = ", ".join(table.c.keys())
            raise LookupError(f"No column {name!r} in {table.name}; it has {known}.")
    return [table.c[name] for name in wanted]


def _is_required(column: Column[Any]) -> bool:
    return not column.nullable and column.server_default is None and column.identity is None


def _copy(column: Column[Any]) -> Column[Any]:
    checks = (c for c in column.constraints if isinstance(c, CheckConstraint))
    copies = (CheckConstraint(check.sqltext) for check in checks)
    return Column(column.name, column.type, *copies, nullable=column.nullable)


def _create(dialect: Dialect, staging: Table, like: Table | None, columns: Columns) -> str:
    """LIKE copies types that SQLAlchemy cannot name, and the CHECK constraints."""
    preparer = dialect.identifier_preparer
    parts = [str(CreateColumn(staging.c[c.name]).compile(dialect=dialect)) for c in columns]
    if like is not None:
        parts.append(f"LIKE {preparer.format_table(like)} INCLUDING CONSTRAINTS")
    name = preparer.format_table(staging)
    return f"CREATE TEMPORARY TABLE {name} ({', '.join(parts)}) ON COMMIT DROP"


def _actions(dialect: Dialect, staging: Table, like: Table) -> list[str]:
    """Leave out the columns that are not wanted; do not require what has a default."""
    quoted = dialect.identifier_preparer.format_column
    unwanted = [f"DROP COLUMN {quoted(c)}" for c in like.c if c.name not in staging.c]
    kept = [c for c in like.c if c.name in staging.c and not c.nullable]
    optional = [c for c in kept if staging.c[c.name].nullable]
    return unwanted + [f"ALTER COLUMN {quoted(c)} DROP NOT NULL" for c in optional]
