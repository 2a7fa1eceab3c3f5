"""The temporary table that a file is copied into."""

import secrets
from collections.abc import Iterable, Iterator, Sequence
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
    for statement in _statements(conn.dialect, staging, like, copied, columns):
        await conn.exec_driver_sql(statement)
    return staging


async def checked_columns(conn: AsyncConnection, staging: Table) -> dict[str, str]:
    """The column of every CHECK constraint that is about a single one, by the constraint's name."""
    rows = await conn.execute(_CHECKED_COLUMNS, {"staging": staging.name})
    return {row.conname: row.attname for row in rows}


def reasons_of(staging: Table) -> dict[str, str]:
    """What the `info` of a column's CHECK constraint has for "reason", by the column's name."""
    return {
        column.name: check.info["reason"]
        for column in staging.c
        for check in column.constraints
        if "reason" in check.info
    }


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
    copies = (CheckConstraint(check.sqltext, info=check.info) for check in checks)
    return Column(
        column.name, column.type, *copies, nullable=column.nullable, info=dict(column.info)
    )


def _statements(
    dialect: Dialect, staging: Table, like: Table | None, copied: Columns, columns: Columns
) -> Iterator[str]:
    """LIKE copies types that SQLAlchemy cannot name, and the CHECK constraints."""
    preparer = dialect.identifier_preparer
    name = preparer.format_table(staging)
    new = [str(CreateColumn(staging.c[c.name]).compile(dialect=dialect)) for c in columns]
    if like is None:
        yield f"CREATE TEMPORARY TABLE {name} ({', '.join(new)}) ON COMMIT DROP"
        return
    source = preparer.format_table(like)
    yield f"CREATE TEMPORARY TABLE {name} (LIKE {source} INCLUDING CONSTRAINTS) ON COMMIT DROP"
    kept = {column.name for column in copied}
    unwanted = [column for column in like.c if column.name not in kept]
    optional = [column for column in copied if not (column.nullable or _is_required(column))]
    actions = [f"DROP COLUMN {preparer.format_column(column)}" for column in unwanted]
    actions += [f"ALTER {preparer.format_column(column)} DROP NOT NULL" for column in optional]
    actions += [f"ADD COLUMN {column}" for column in new]
    if actions:
        yield f"ALTER TABLE {name} {', '.join(actions)}"
