"""Load a file: COPY into a staging table, then a statement that moves the rows on."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Sequence,
)
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import asyncpg
from pydantic import BaseModel
from sqlalchemy import Column, Executable, Insert, Table, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from starlette.requests import ClientDisconnect, Request

from ..data.statements import column_names
from ..data.transaction import TransactionManager
from ..entities.conflict import CREATED, Target, on_conflict, returning_created
from ..errors import sqlstate_of
from ..web.request import CLIENT_TIMEOUT, RequestTransaction
from .copy_text import CopyText
from .formats import CSV, Csv, Format, format_of_content_type, without_mark
from .json_lines import read_blocks, read_objects
from .staging import BulkError, bad_file, checked_columns, create_staging, unknown_column

#: What can be loaded. The format of a request is that of its Content-Type.
Source = str | os.PathLike[str] | BinaryIO | AsyncIterable[bytes] | Request

#: Given the staging table: the statement, or the statements in order, that move its rows on.
Move = Callable[[Table], Executable | Sequence[Executable]]
AfterCopy = Callable[[TransactionManager, Table], Awaitable[object]]

#: Is told how many bytes were read or written.
Progress = Callable[[int], object]

#: Seconds. DATABASE_STATEMENT_TIMEOUT is for requests that do not wait for a client's upload.
STATEMENT_TIMEOUT = 600.0
#: SQLSTATE of ON CONFLICT DO UPDATE that meets one row twice.
CARDINALITY_VIOLATION = "21000"

#: Bytes read from a file at a time, and those that a header may have.
PIECE = 512 * 1024
HEADER_LIMIT = 64 * 1024


@dataclass(frozen=True)
class Counts:
    """Rows copied from the file, and what the last statement of the move made of them."""

    copied: int
    inserted: int
    updated: int
    skipped: int


async def load(
    transaction: TransactionManager,
    source: Source,
    move: Move,
    *,
    like: Table | None = None,
    names: Iterable[str] | None = None,
    columns: Sequence[Column[Any]] = (),
    rows: type[BaseModel] | None = None,
    file_format: Format | None = None,
    after_copy: AfterCopy | None = None,
    progress: Progress | None = None,
    statement_timeout: float = STATEMENT_TIMEOUT,
    client_timeout: float = CLIENT_TIMEOUT,
) -> Counts:
    """Load `source` in the caller's transaction, as a whole or not at all, and count its rows.

    The staging table has the columns `names` of the table `like` (all of them when None) and the
    given `columns`; a CHECK or NOT NULL constraint of either is a rule for the file. A given
    `CheckConstraint(..., info={"reason": ...})` says itself what is wrong.

    With `rows`, every row is validated by this model before it is copied, and `names` are what the
    model is written with, by default. Values of CSV are given to it as strings, NULL (what is empty
    and has no quotes) as None, so its fields must not be strict. It costs several times what COPY
    takes, and no memory that grows.

    `after_copy` may add an index, ANALYZE or change rows before they are moved. `file_format` is
    CSV when None, or that of the request. `progress` is told the bytes of each piece read. In
    seconds: `statement_timeout` for each statement, `client_timeout` for the next piece of a
    request or an async iterable.

    Raises BulkError, with row and column, for what is wrong with the file or the client; what the
    move raises; what reading the source raises; and TooManyStreams when half of the pool streams
    already, for an upload in a request.
    """
    if file_format is None and isinstance(source, Request):
        file_format = format_of_content_type(source.headers.get("content-type", ""))
    if rows is not None and names is None:
        given = {column.name for column in columns}
        names = [name for name in _written_names(rows) if name not in given]
    if isinstance(transaction, RequestTransaction) and isinstance(source, Request | AsyncIterable):
        transaction.reserve()
    async with transaction.savepoint():
        await transaction.set_statement_timeout(statement_timeout)
        staging = await create_staging(await transaction.connection(), like, names, columns)
        async with aclosing(_pieces(source, client_timeout, progress)) as taken:
            form = file_format or CSV
            text = without_mark(taken)
            copied = await _copy(transaction, staging, text, form, rows, statement_timeout)
        if after_copy is not None:
            await after_copy(transaction, staging)
        try:
            inserted, updated = await _move(transaction, move(staging))
        except DBAPIError as error:
            if sqlstate_of(error) == CARDINALITY_VIOLATION:
                raise BulkError("two rows have the same key") from None
            raise
    return Counts(copied, inserted, updated, max(copied - inserted - updated, 0))


def insert_from(staging: Table, table: Table, conflict: Sequence[str] = ()) -> Insert:
    """The INSERT of the staged columns into `table`, for `load`'s move.

    Rows that are there already, by the columns of a unique constraint in `conflict`, are updated.
    Two staged rows of one key are then a BulkError of `load`.
    """
    names = staging.c.keys()
    new = insert(table).from_select(names, select(*staging.c))
    if not conflict:
        return new
    changed = [name for name in names if name not in conflict]
    return on_conflict(new, names, Target(tuple(conflict)), changed or None)


async def columns_of(source: Source, file_format: Format) -> list[str]:
    """The columns in the header, or the keys of the first line of JSON; raises BulkError."""
    async with aclosing(_pieces(source, CLIENT_TIMEOUT)) as taken:
        if isinstance(file_format, Csv):
            return await _header(file_format.records(without_mark(taken)))
        async for _, values in read_objects(without_mark(taken)):
            return list(values)
    raise BulkError("the file is empty")


async def _pieces(
    source: Source, patience: float, progress: Progress | None = None
) -> AsyncGenerator[bytes]:
    """The bytes of `source`, of which `progress` is told when they were taken."""
    with ExitStack() as stack:
        limit: float | None = patience
        if isinstance(source, Request):
            source = source.stream()
        elif isinstance(source, str | os.PathLike):
            source = stack.enter_context(await asyncio.to_thread(Path(source).open, "rb"))
        if not isinstance(source, AsyncIterable):
            source, limit = _chunks(source), None
        iterator = aiter(source)
        while (piece := await _next(iterator, limit)) is not None:
            if not isinstance(piece, bytes):
                raise TypeError(f"The source gave {type(piece).__name__}; it must give bytes.")
            yield piece
            if progress is not None:
                progress(len(piece))


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, PIECE):
        yield piece


async def _next(iterator: AsyncIterator[bytes], patience: float | None) -> bytes | None:
    try:
        async with asyncio.timeout(patience) as limit:
            return await anext(iterator, None)
    except ClientDisconnect:
        raise BulkError("The client left before the file was complete.", status=400) from None
    except TimeoutError:
        if not limit.expired():
            raise
        raise BulkError(f"Nothing was sent for {patience:g} seconds.", status=408) from None


async def _copy(
    transaction: TransactionManager,
    staging: Table,
    taken: AsyncIterator[bytes],
    file_format: Format,
    model: type[BaseModel] | None,
    statement_timeout: float,
) -> int:
    names, options = staging.c.keys(), dict[str, Any]()
    is_csv = isinstance(file_format, Csv)
    writer = CopyText(staging, model, from_text=is_csv)
    row_of: Callable[[int], int | None] = writer.row_of
    if not isinstance(file_format, Csv):
        objects = model is not None
        body = (
            writer.of_rows(read_objects(taken)) if objects else writer.of_json(read_blocks(taken))
        )
    elif model is not None:
        body = writer.of_rows(_by_field(file_format.records(taken), file_format, model))
    else:
        options, row_of, body = file_format.options(), lambda line: line, taken
        if file_format.header:
            begun: list[bytes] = []
            names = await _header(file_format.records(_kept(taken, begun)))
            required = [column.name for column in staging.c if not column.nullable]
            _check_header(names, staging.c.keys(), required)
            body = _joined(begun, taken)
    driver: asyncpg.Connection = await transaction.get_dbapi_connection()
    checks = await checked_columns(await transaction.connection(), staging)
    try:
        status = await driver.copy_to_table(
            staging.name,
            source=body,
            columns=names,
            timeout=statement_timeout or sys.maxsize,
            **options,
        )
    except asyncpg.PostgresError as error:
        bad = bad_file(error, staging, checks, row_of)
        if bad is None:
            raise
        raise bad from None
    return int(status.rpartition(" ")[2])


async def _by_field(
    records: AsyncIterator[tuple[int, list[str | None]]], form: Csv, model: type[BaseModel]
) -> AsyncIterator[tuple[int, dict[str, str | None]]]:
    """The records by the names in the header, or else those of the model's fields in order."""
    names = known = list(column_names(model))
    if form.header:
        fields = zip(known, model.model_fields.values(), strict=True)
        names = await _header(records)
        _check_header(names, known, [name for name, field in fields if field.is_required()])
    async for row, values in records:
        if len(values) != len(names):
            few = "fewer" if len(values) < len(names) else "more"
            raise BulkError(f"there are {few} values than columns", row=row)
        yield row, dict(zip(names, values, strict=True))


async def _header(records: AsyncIterator[tuple[int, list[str | None]]]) -> list[str]:
    async for row, values in records:
        names = [value or "" for value in values]
        if sum(map(len, names)) > HEADER_LIMIT:
            raise BulkError(f"the header is longer than {HEADER_LIMIT} bytes", row=row)
        if names != [""]:
            return names
        break
    raise BulkError("the file is empty, or its first line is")


def _check_header(names: Collection[str], known: Collection[str], required: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise unknown_column(name, known, row=1)
    for name, number in Counter(names).items():
        if number > 1:
            raise BulkError("the header has this column twice", row=1, column=name)
    for name in required:
        if name not in names:
            raise BulkError("the header lacks this column", row=1, column=name)


async def _kept(pieces: AsyncIterator[bytes], kept: list[bytes]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        kept.append(piece)
        yield piece


async def _joined(begun: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield b"".join(begun)
    async for piece in rest:
        yield piece


def _written_names(model: type[BaseModel]) -> list[str]:
    fields = model.model_fields.items()
    names = [field.serialization_alias or name for name, field in fields if not field.exclude]
    return [*names, *(f.alias or name for name, f in model.model_computed_fields.items())]


async def _move(
    transaction: TransactionManager, statements: Executable | Sequence[Executable]
) -> tuple[int, int]:
    """How many rows the last statement inserted and updated.

    Rows of a last one that is no INSERT but changes some count as updated.
    """
    *before, last = statements if isinstance(statements, Sequence) else [statements]
    for statement in before:
        await transaction.execute(statement)
    if not isinstance(last, Insert):
        result = await transaction.execute(last)
        return 0, 0 if result.returns_rows else result.rowcount
    dialect = (await transaction.connection()).dialect
    moved = returning_created(last, dialect).cte("moved")
    new = moved.c[CREATED]
    counts: Any = select(func.count().filter(new), func.count().filter(~new)).select_from(moved)
    return tuple((await transaction.execute(counts)).one())
