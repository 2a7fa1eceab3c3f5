"""Load a file: COPY into a staging table, then a statement that moves the rows on."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncpg
from sqlalchemy import Executable, Table

from ..data.transaction import TransactionManager
from .csv_values import OPTIONS, kinds_of
from .errors import bad_file
from .formats import CSV, Csv, Format
from .header import check_header, read_header
from .json_lines import JsonRows
from .moving import move_rows
from .sources import Progress, Source, pieces
from .staging import Columns, checked_columns, create_staging
from .timeout import TIMEOUT, set_timeout

#: Given the staging table: the statement, or the statements in order, that move its rows on.
Move = Callable[[Table], Executable | Sequence[Executable]]
AfterCopy = Callable[[TransactionManager, Table], Awaitable[object]]


@dataclass(frozen=True)
class Counts:
    """Rows copied from the file, and what the last statement of the move made of them."""

    copied: int
    inserted: int
    updated: int
    skipped: int


class _Feed(NamedTuple):
    """What COPY is told and given."""

    columns: list[str]
    options: dict[str, Any]
    body: AsyncIterator[bytes]
    row_of: Callable[[int], int | None]


async def load(
    transaction: TransactionManager,
    source: Source,
    move: Move,
    *,
    like: Table | None = None,
    names: Iterable[str] | None = None,
    columns: Columns = (),
    file_format: Format = CSV,
    after_copy: AfterCopy | None = None,
    progress: Progress | None = None,
    statement_timeout: float = TIMEOUT,
) -> Counts:
    """Load `source` in the caller's transaction, as a whole or not at all.

    The staging table has the columns `names` of the table `like` (all of them when None) and the
    given `columns`; a CHECK or NOT NULL constraint of either is a rule for the file. A given
    `CheckConstraint(..., info={"reason": ...})` says itself what is wrong; a given
    `Column(..., info={"json": "number"})` takes no strings from JSON. `after_copy` may add an
    index, ANALYZE or change rows before they are moved. `progress` is told the bytes of each piece
    read; `statement_timeout` is in seconds.

    Raises BulkError, with row and column, for what is wrong with the file; what the move raises;
    and what reading the source raises.
    """
    async with transaction.savepoint():
        await set_timeout(transaction, statement_timeout)
        staging = await create_staging(await transaction.connection(), like, names, columns)
        async with aclosing(pieces(source, progress)) as taken:
            copied = await _copy(transaction, staging, taken, file_format, statement_timeout)
        if after_copy is not None:
            await after_copy(transaction, staging)
        statements = move(staging)
        inserted, updated = await move_rows(
            transaction, statements if isinstance(statements, Sequence) else [statements]
        )
    return Counts(copied, inserted, updated, max(copied - inserted - updated, 0))


async def _copy(
    transaction: TransactionManager,
    staging: Table,
    taken: AsyncIterator[bytes],
    file_format: Format,
    statement_timeout: float,
) -> int:
    driver: asyncpg.Connection = await transaction.get_dbapi_connection()
    feed = await _feed(staging, taken, file_format)
    checks = await checked_columns(await transaction.connection(), staging)
    try:
        status = await driver.copy_to_table(
            staging.name,
            source=feed.body,
            columns=feed.columns,
            timeout=statement_timeout,
            **feed.options,
        )
    except asyncpg.PostgresError as error:
        bad = bad_file(error, staging, checks, feed.row_of)
        if bad is None:
            raise
        raise bad from None
    return int(status.rpartition(" ")[2])


async def _feed(staging: Table, taken: AsyncIterator[bytes], file_format: Format) -> _Feed:
    names = staging.c.keys()
    if not isinstance(file_format, Csv):
        rows = JsonRows(kinds_of(staging))
        return _Feed(names, OPTIONS, rows.csv(taken), rows.positions.row_of)
    if not file_format.header:
        return _Feed(names, file_format.options(), taken, lambda line: line)
    header, begun = await read_header(taken, file_format)
    required = [column.name for column in staging.c if not column.nullable]
    check_header(header, names, required)
    return _Feed(header, file_format.options(), _from(begun, taken), lambda line: line)


async def _from(begun: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield begun
    async for piece in rest:
        yield piece
