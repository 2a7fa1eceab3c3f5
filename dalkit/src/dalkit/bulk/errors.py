"""What is wrong with a file, and where."""

import re
from collections.abc import Callable, Collection, Mapping

import asyncpg
from sqlalchemy import Table

from .staging import reasons_of

CHECK_VIOLATION = "23514"


class BulkError(Exception):
    """The file cannot be loaded. The message shows no value of the file and no text of the driver.

    `row` counts the lines of the file, the header included, as an editor numbers them.
    """

    def __init__(self, reason: str, *, row: int | None = None, column: str | None = None) -> None:
        self.reason = reason
        self.row = row
        self.column = column
        place = [f"row {row}"] if row is not None else []
        place += [f"column {column!r}"] if column is not None else []
        super().__init__(f"{', '.join(place)}: {reason}" if place else reason)


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
    "22021": "the text is not UTF-8, or has a NUL character",
    "23502": "a value is required",
    CHECK_VIOLATION: "the value breaks a rule of the database",
}
