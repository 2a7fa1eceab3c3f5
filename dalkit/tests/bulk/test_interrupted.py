"""A load that ends before its time leaves nothing, and a usable pool."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import asyncpg
import pytest
from sqlalchemy import Table, text

from dalkit import DataAccessLayer
from dalkit.bulk import CSV, JSON_LINES, export, load

from tests.bulk.things import DDL, in_pieces, upsert


@pytest.fixture
async def dal(committed_database: str) -> AsyncIterator[DataAccessLayer]:
    """A pool of one connection, and the table to load into."""
    options: dict[str, Any] = {"pool_size": 1, "pool_timeout": 5}
    observer = await asyncpg.connect(committed_database)
    await observer.execute(f"DROP TABLE IF EXISTS thing CASCADE; {DDL}")
    async with DataAccessLayer.connect(committed_database, only=["thing"], **options) as it:
        yield it
    await observer.execute("DROP TABLE thing CASCADE")
    await observer.close()


async def _load(dal: DataAccessLayer, source: Any, file_format: Any = CSV) -> None:
    thing = dal.get_table("thing")
    async with dal.transaction() as transaction:
        await load(
            transaction,
            source,
            lambda staging: upsert(staging, thing),
            like=thing,
            names=["code"],
            file_format=file_format,
        )


async def _is_clean(dal: DataAccessLayer) -> bool:
    """Whether nothing was stored, no staging table is left, and the connection is usable."""
    thing: Table = dal.get_table("thing")
    left = text("SELECT count(*) FROM pg_class WHERE relname LIKE 'staging_%'")
    async with dal.transaction() as transaction:
        rows = await transaction.fetch_all(thing.select())
        return rows == [] and await transaction.fetch_value(left) == 0


async def _endless(started: asyncio.Event, begun: bytes, line: bytes) -> AsyncIterator[bytes]:
    yield begun
    for number in range(1_000_000):
        yield line % number
        if number == 1000:
            started.set()
        await asyncio.sleep(0)
    raise AssertionError


@pytest.mark.parametrize(
    ("begun", "line", "file_format"),
    [(b"code\n", b"%d\n", CSV), (b"\n", b'{"code": %d}\n', JSON_LINES)],
    ids=["csv", "json"],
)
async def test_a_cancelled_load_leaves_nothing(
    dal: DataAccessLayer, begun: bytes, line: bytes, file_format: Any
) -> None:
    started = asyncio.Event()
    task = asyncio.create_task(_load(dal, _endless(started, begun, line), file_format))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await _is_clean(dal)


async def test_a_cancelled_scope_leaves_nothing(dal: DataAccessLayer) -> None:
    """Starlette's way, which cancels every further wait as well."""
    started = asyncio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_load, dal, _endless(started, b"code\n", b"%d\n"))
        await started.wait()
        tasks.cancel_scope.cancel()
    assert await _is_clean(dal)


async def test_a_source_that_fails_leaves_nothing(dal: DataAccessLayer) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"code\na\n"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await _load(dal, failing())
    assert await _is_clean(dal)


async def test_an_export_whose_sink_fails_leaves_a_usable_connection(dal: DataAccessLayer) -> None:
    async def full(piece: bytes) -> None:
        raise OSError("No space left")

    numbers = text("SELECT * FROM generate_series(1, 1000000)")
    with pytest.raises(OSError, match="No space"):
        async with dal.transaction(readonly=True) as transaction:
            await export(transaction, numbers, full)
    assert await _is_clean(dal)


async def test_a_load_that_is_too_slow_ends_with_the_servers_timeout(dal: DataAccessLayer) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"code\n"
        await asyncio.sleep(5)

    thing = dal.get_table("thing")
    async with dal.transaction() as transaction:
        with pytest.raises((TimeoutError, asyncpg.QueryCanceledError)):
            await load(
                transaction,
                slow(),
                lambda staging: upsert(staging, thing),
                like=thing,
                names=["code"],
                statement_timeout=0.2,
            )
    await _load(dal, in_pieces(b"code\n", 5))
    assert await _is_clean(dal)
