"""The temporary table that a file is copied into, and what COPY finds wrong with the file."""

import re
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import asyncpg
from sqlalchemy import CheckConstraint, Column, MetaData, Table, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateColumn

from ..errors import UnknownColumn
from ..web.problems import Problem

#: A row of a file: its values by column.
Object = dict[str, Any]

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
        self.reason, self.row, self.column = reason, row, column
        place = [f"row {row}"] if row is not None else []
        place += [f"column {column!r}"] if column is not None else []
        members: dict[str, Any] = {}
        if status == 422:
            loc = ["body", *(part for part in (row, column) if part is not None)]
            error = {"loc": loc, "msg": reason, "type": "bulk_error"}
            members = {"row": row, "column": column, "errors": [error]}
        detail = f"{', '.join(place)}: {reason}" if place else reason
        super().__init__(status, detail, headers=headers, **members)

    def __str__(self) -> str:
        return str(self.detail)

    def at(self, row: int) -> "BulkError":
        """The same error, in this row."""
        return BulkError(self.reason, row=row, column=self.column)


def unknown_column(name: str, known: Collection[str], row: int | None = None) -> BulkError:
    """The error for a column or key that there is not."""
    listed = f"the columns are {', '.join(known)}; " if known else ""
    reason = f"{listed}there is no such column"
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
    known. A column that has a default may be left out. Raises UnknownColumn.
    """
    copied: dict[str, Column[Any]] = {}
    if like is not None:
        plain = (column.name for column in like.c if column.computed is None)
        for name in plain if names is None else names:
            if name not in like.c:
                raise UnknownColumn(name, like)
            copied[name] = like.c[name]
    staging = Table(
        f"staging_{secrets.token_hex(8)}",  # unique, and not known to the author of the file
        MetaData(),
        *(Column(c.name, c.type, nullable=not _is_required(c)) for c in copied.values()),
        *map(_copy, columns),
    )
    quoted = conn.dialect.identifier_preparer
    name, rows, actions = quoted.format_table(staging), "", list[str]()
    if like is not None:  # LIKE copies types that SQLAlchemy cannot name, and CHECK constraints
        rows = f"LIKE {quoted.format_table(like)} INCLUDING CONSTRAINTS"
        for column in like.c:
            if column.name not in copied:
                actions.append(f"DROP COLUMN {quoted.format_column(column)}")
            elif not (column.nullable or _is_required(column)):
                actions.append(f"ALTER {quoted.format_column(column)} DROP NOT NULL")
    for column in columns:
        actions.append(f"ADD {CreateColumn(staging.c[column.name]).compile(dialect=conn.dialect)}")
    await conn.exec_driver_sql(f"CREATE TEMPORARY TABLE {name} ({rows}) ON COMMIT DROP")
    if actions:
        await conn.exec_driver_sql(f"ALTER TABLE {name} {', '.join(actions)}")
    return staging


def _is_required(column: Column[Any]) -> bool:
    return not column.nullable and column.server_default is None and column.identity is None


def _copy(column: Column[Any]) -> Column[Any]:
    checks = (c for c in column.constraints if isinstance(c, CheckConstraint))
    copies = (CheckConstraint(check.sqltext, info=check.info) for check in checks)
    return Column(column.name, column.type, *copies, nullable=column.nullable)


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


def bad_file(
    error: asyncpg.PostgresError,
    staging: Table,
    checks: Mapping[str, str],
    row_of: Callable[[int], int | None],
) -> BulkError | None:
    """What COPY into the table `staging` found wrong with the file, or None for any other error.

    `checks` tells the column of a CHECK constraint, `row_of` the row of the file by COPY's line.
    """
    sqlstate, message = error.sqlstate or "", str(error)
    if sqlstate[:2] not in ("22", "23"):
        return None
    line, column = _place(getattr(error, "context", None) or "", staging)
    if column is None:
        column = getattr(error, "column_name", None) or checks.get(error.constraint_name or "")
    reason = _REASONS.get(sqlstate, "the value does not fit the column")
    if sqlstate == "22P04":
        reasons = (reason for begin, reason in _LAYOUT.items() if message.startswith(begin))
        reason = next(reasons, "the row cannot be read")
    if sqlstate == CHECK_VIOLATION and column:
        for check in staging.c[column].constraints:
            reason = check.info.get("reason", reason)
    return BulkError(reason, row=None if line is None else row_of(line), column=column)


def _place(context: str, staging: Table) -> tuple[int | None, str | None]:
    """Line and column of a CONTEXT line "COPY <table>, line 3, column price: ...".

    The context quotes the file, which may imitate such a line: the staging table's name has a
    random part that the file's author could not know. A column's name may hold ", " or ": ".
    """
    pattern = rf"^COPY {staging.name}, line (\d+)(?:, column (.*))?"
    found = re.search(pattern, context, re.MULTILINE)
    if found is None:
        return None, None
    rest = f"{found[2]}:"
    named = [column.name for column in staging.c if rest.startswith(f"{column.name}:")]
    return int(found[1]), max(named, key=len, default=None)


#: How the messages of SQLSTATE 22P04 (bad_copy_file_format) begin, with lc_messages in English.
_LAYOUT = {
    "missing data": "there are fewer values than columns",
    "extra data": "there are more values than columns",
    "unterminated CSV": "a quoted value is not closed",
    "unquoted": "the line ends differently from the first one",
}
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
