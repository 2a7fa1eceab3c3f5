"""Export what a statement returns: COPY to a file, a stream or a function."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

import asyncpg
from sqlalchemy import ClauseElement, Executable
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.compiler import SQLCompiler
from starlette.responses import StreamingResponse
from starlette.types import Send

from ..data.transaction import TransactionManager
from ..web.request import RequestTransaction
from .formats import CSV, Csv, Format
from .json_lines import lines_of
from .loading import STATEMENT_TIMEOUT, Progress

#: Takes some bytes; COPY goes on when it has returned.
Sink = Callable[[bytes], Awaitable[object]]
Destination = str | os.PathLike[str] | BinaryIO | Sink

#: Bytes gathered before they are written to a file, in a thread.
PIECE = 1024 * 1024

#: PostgreSQL sends 8 KiB at a time, and asyncpg would wake up for each: half of an export's cost.
#: While it waits so many seconds after a piece of fewer bytes, the socket gathers the next ones.
PAUSE = 0.001
SMALL = 64 * 1024


async def export(
    transaction: TransactionManager,
    statement: Executable,
    target: Destination,
    *,
    file_format: Format = CSV,
    progress: Progress | None = None,
    statement_timeout: float = STATEMENT_TIMEOUT,
) -> int:
    """Write the rows that a statement returns to a path, a binary stream or a function.

    Returns the number of rows. `progress` is told the bytes of each piece written;
    `statement_timeout` is in seconds. Raises OSError, asyncpg.PostgresError, and what the function
    raises.
    """
    conn = await transaction.connection()
    await transaction.set_statement_timeout(statement_timeout)
    driver: asyncpg.Connection = await transaction.get_dbapi_connection()
    sql = await _with_literals(conn, statement)
    options: dict[str, Any] = {}
    if is_csv := isinstance(file_format, Csv):
        options = file_format.options()
    else:
        sql = f"WITH exported AS ({sql}) SELECT row_to_json(exported) FROM exported"  # noqa: S608
    async with _sink(target) as write:

        async def take(copied: bytes) -> None:
            piece = copied if is_csv else lines_of(copied)
            await write(piece)
            if progress is not None:
                progress(len(piece))
            if len(copied) < SMALL:
                await asyncio.sleep(PAUSE)

        status = await driver.copy_from_query(
            sql, output=take, timeout=statement_timeout or sys.maxsize, **options
        )
    return int(status.rpartition(" ")[2])


@asynccontextmanager
async def _sink(target: Any) -> AsyncIterator[Sink]:
    if callable(target):
        yield target
        return
    is_path = isinstance(target, str | os.PathLike)
    file = await asyncio.to_thread(Path(target).open, "wb") if is_path else target
    kept = bytearray()

    async def flush() -> None:
        await asyncio.to_thread(file.write, bytes(kept))
        kept.clear()

    async def write(piece: bytes) -> None:
        kept.extend(piece)
        if len(kept) >= PIECE:
            await flush()

    try:
        yield write
        await flush()
    finally:
        if is_path:
            await asyncio.to_thread(file.close)


class ExportResponse(StreamingResponse):
    """A download that COPY writes straight to the client, as fast as the client takes it.

    Make it in the handler, from a `ReadTransaction`: the transaction stays open, READ ONLY, until
    the last byte or the client's abort; TransactionMiddleware gives up a client that takes nothing.
    An error before the first byte is answered as usual; one after it cuts the response short. Other
    `options` are those of `export`. Raises RuntimeError when the transaction may already have
    written, and TooManyStreams when half of the pool streams already.
    """

    def __init__(
        self,
        transaction: RequestTransaction,
        statement: Executable,
        *,
        filename: str,
        file_format: Format = CSV,
        **options: Any,
    ) -> None:
        super().__init__((), media_type=file_format.media_type)
        self.headers["content-disposition"] = (
            f'attachment; filename="{filename}.{file_format.name}"'
        )
        self._arguments = (transaction, statement)
        self._options = {"file_format": file_format} | options
        transaction.hold_open()

    async def stream_response(self, send: Send) -> None:
        """Send the export; called by StreamingResponse, which watches for the client's abort."""
        started = False

        async def write(piece: bytes) -> None:
            nonlocal started
            if not started:
                started = True
                start = {"type": "http.response.start", "status": self.status_code}
                await send(start | {"headers": self.raw_headers})
            await send({"type": "http.response.body", "body": piece, "more_body": True})

        await export(*self._arguments, write, **self._options)
        if not started:
            await write(b"")
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _with_literals(conn: AsyncConnection, statement: Executable) -> str:
    """The SQL of `statement`; PostgreSQL itself writes its values as literals of their types.

    SQLAlchemy's literal_binds has no literals for many types (arrays, intervals, jsonb), and
    asyncpg's copy_from_query(sql, *values) replaces `$1` wherever it stands, in a name as well.
    Compiled for "pyformat", percent signs in names and texts are doubled, so that Python's `%`
    puts the literals where the parameters were and nowhere else.
    """
    dialect: Any = conn.dialect
    pyformat = type(dialect)(paramstyle="pyformat", json_serializer=dialect._json_serializer)
    compiled = statement.compile(dialect=pyformat) if isinstance(statement, ClauseElement) else None
    if not isinstance(compiled, SQLCompiler):
        raise TypeError(f"{type(statement).__name__} gives no rows that could be exported.")
    state = compiled.construct_expanded_state()
    convert: Any = {**compiled._bind_processors, **state.processors}
    values = {
        compiled.escaped_bind_names.get(name, name): convert[name](value)
        if name in convert
        else value
        for name, value in state.parameters.items()
    }
    driver: asyncpg.Connection = (await conn.get_raw_connection()).driver_connection
    numbered = {name: f"${number}" for number, name in enumerate(values, start=1)}
    prepared = await driver.prepare(state.statement % numbered)
    oids = [parameter.oid for parameter in prepared.get_parameters()]
    types = await driver.fetchval("SELECT ARRAY(SELECT format_type(unnest($1::oid[]), -1))", oids)
    quoted = [f"quote_nullable(CAST(${n} AS {type_})::text)" for n, type_ in enumerate(types, 1)]
    written = await driver.fetchrow(f"SELECT {', '.join(quoted)}", *values.values())
    literals = [f"CAST({text} AS {type_})" for text, type_ in zip(written, types, strict=True)]
    return state.statement % dict(zip(values, literals, strict=True))
