"""Export what a statement returns: COPY to a file, a stream or a function."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import asyncpg
from sqlalchemy import Executable

from ..data.transaction import TransactionManager
from . import json_rows
from .formats import CSV, Csv, Format
from .literals import with_literals
from .sources import Progress
from .timeout import TIMEOUT, set_timeout

#: Takes some bytes; COPY goes on when it has returned.
Sink = Callable[[bytes], Awaitable[object]]
Target = str | os.PathLike[str] | BinaryIO | Sink

#: Bytes gathered before they are written to a file, in a thread.
PIECE = 1024 * 1024

#: PostgreSQL sends 8 KiB at a time, and asyncpg would wake up for each: half of an export's cost.
#: While it waits so many seconds after a piece of fewer bytes, the socket gathers the next ones.
PAUSE = 0.001
SMALL = 64 * 1024


async def export(
    transaction: TransactionManager,
    statement: Executable,
    target: Target,
    *,
    file_format: Format = CSV,
    progress: Progress | None = None,
    statement_timeout: float = TIMEOUT,
) -> int:
    """Write the rows that a statement returns to a path, a binary stream or a function.

    Returns the number of rows. `progress` is told the bytes of each piece written;
    `statement_timeout` is in seconds. Raises OSError, asyncpg.PostgresError, and what the function
    raises.
    """
    conn = await transaction.connection()
    await set_timeout(transaction, statement_timeout)
    driver: asyncpg.Connection = await transaction.get_dbapi_connection()
    sql = await with_literals(conn, statement)
    if isinstance(file_format, Csv):
        options, separators = file_format.options(), b""
    else:
        sql = await json_rows.as_json(driver, sql)
        options, separators = json_rows.OPTIONS, json_rows.SEPARATORS
    async with _sink(target) as write:

        async def take(piece: bytes) -> None:
            written = piece.translate(None, separators) if separators else piece
            await write(written)
            if progress is not None:
                progress(len(written))
            if len(piece) < SMALL:
                await asyncio.sleep(PAUSE)

        status = await driver.copy_from_query(
            sql, output=take, timeout=statement_timeout, **options
        )
    return int(status.rpartition(" ")[2])


@asynccontextmanager
async def _sink(target: Target) -> AsyncIterator[Sink]:
    if isinstance(target, str | os.PathLike):
        file = await asyncio.to_thread(Path(target).open, "wb")
        try:
            async with _gathered(file) as write:
                yield write
        finally:
            await asyncio.to_thread(file.close)
    elif callable(target):
        yield target
    else:
        async with _gathered(target) as write:
            yield write


@asynccontextmanager
async def _gathered(stream: BinaryIO) -> AsyncIterator[Sink]:
    """COPY gives small pieces: hand them to the thread in large ones."""
    kept: list[bytes] = []
    size = 0

    async def write(piece: bytes) -> None:
        nonlocal size
        kept.append(piece)
        size += len(piece)
        if size >= PIECE:
            await flush()

    async def flush() -> None:
        nonlocal size
        await asyncio.to_thread(stream.write, b"".join(kept))
        kept.clear()
        size = 0

    yield write
    await flush()
