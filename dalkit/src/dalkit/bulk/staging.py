"""The temporary table that a file is copied into, and what COPY finds wrong with the file."""

import re
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import asyncpg
from sqlalchemy import CheckConstraint, Column, MetaData, Table, text
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateColumn

from ..web.problems import Problem

CHECK_VIOLATION = "23514"
#: What is wrong with text that PostgreSQL cannot store (SQLSTATE 22021).
BAD_TEXT = "the text is not UTF-8, or has a NUL character"


class BulkError(Problem):
    """The file cannot be loaded. The message shows no value of the file and no text of the driver.

    `row` counts the lines of the file, the header included, as an editor numbers them. In a request
    the answer is a 422 that has row, column and reason; 400 when the client left, 408 when it sent
    nothing for too long, 415 for a file of another type.
    """

    def __init__(
        self,
        reason: str,
        *,
        row: int | None = None,
        column: str | None = None,
        status: int = 422,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.reason = reason
        self.row = row
        self.column = column
        place = [f"row {row}"] if row is not None else []
        place += [f"column {column!r}"] if column is not None else []
        detail = f"{', '.join(place)}: {reason}" if place else reason
        members: dict[str, Any] = {}
        if status == 422:
            loc = ["body", *(part for part in (row, column) if part is not None)]
            error = {"loc": loc, "msg": reason, "type": "bulk_error"}
            members = {"row": row, "column": column, "errors": [error]}
        super().__init__(status, detail, headers=headers, **members)

    def __str__(self) -> str:
        return str(self.detail)

    def at(self, row: int) -> "BulkError":
        """The same error, in this row."""
        return BulkError(self.reason, row=row, column=self.column)


def unknown_column(name: str, known: Collection[str], row: int | None = None) -> BulkError:
    """The error for a column or key that there is not."""
    reason = f"the columns are {', '.join(known)}; there is no such column"
    return BulkError(reason, row=row, column=name[:63])


async def create_staging(
    conn: AsyncConnection,
    like: Table | None,
    names: Iterable[str] | None,
    columns: Sequence[Column[Any]],
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
    dialect: Dialect,
    staging: Table,
    like: Table | None,
    copied: Sequence[Column[Any]],
    columns: Sequence[Column[Any]],
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


def bad_file(
    error: asyncpg.PostgresError,
    staging: Table,
    checks: Mapping[str, str],
    row_of: Callable[[int], int | None],
) -> BulkError | None:
    """What COPY into the table `staging` found wrong with the file, or None for any other error.

    `checks` tells the column of a CHECK constraint, `row_of` the row of the file by COPY's line.
    """
    sqlstate = error.sqlstate or ""
    if sqlstate[:2] not in ("22", "23"):
        return None
    line, column = _place(getattr(error, "context", None) or "", staging.name, staging.c.keys())
    if column is None:
        column = getattr(error, "column_name", None) or checks.get(error.constraint_name or "")
    reason = reasons_of(staging).get(column or "") if sqlstate == CHECK_VIOLATION else None
    row = None if line is None else row_of(line)
    return BulkError(reason or _reason(error, sqlstate), row=row, column=column)


def _place(context: str, staging: str, columns: Collection[str]) -> tuple[int | None, str | None]:
    """Line and column of a CONTEXT line "COPY <table>, line 3, column price: ...".

    The context quotes the file, which may imitate such a line: the staging table's name has a
    random part that the file's author could not know. A column's name may hold ", " or ": ".
    """
    found = re.search(
        rf"^COPY {re.escape(staging)}, line (\d+)(?:, column (.*))?", context, re.MULTILINE
    )
    if found is None:
        return None, None
    rest = found[2] or ""
    named = [name for name in columns if rest == name or rest.startswith((f"{name}: ", f"{name}:"))]
    return int(found[1]), max(named, key=len, default=None)


def _reason(error: asyncpg.PostgresError, sqlstate: str) -> str:
    if sqlstate == "22P04":
        message = str(error)
        return next(
            (text for start, text in _LAYOUT.items() if message.startswith(start)), _NO_LAYOUT
        )
    return _REASONS.get(sqlstate, "the value does not fit the column")


#: How the messages of SQLSTATE 22P04 (bad_copy_file_format) begin, with lc_messages in English.
_LAYOUT = {
    "missing data": "there are fewer values than columns",
    "extra data": "there are more values than columns",
    "unterminated CSV": "a quoted value is not closed",
    "unquoted": "the line ends differently from the first one",
}
_NO_LAYOUT = "the row cannot be read"
_REASONS = {
    "22P02": "the value does not have the column's type",
    "22003": "the number is out of range",
    "22007": "the value is not a date or time",
    "22008": "the date or time is out of range",
    "22001": "the text is too long",
    "22021": BAD_TEXT,
    "23502": "a value is required",
    CHECK_VIOLATION: "the value breaks a rule of the database",
}
