"""All rows of the table `item` to a program that throws them away: COPY, and what is above it."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable

from dalkit.bulk import JSON_LINES, export
from dalkit.data import DataAccessLayer, TransactionManager
from sqlalchemy import select

from ..items import Item

Read = Callable[[TransactionManager], Awaitable[int]]
COLUMNS = "id, code, name, quantity, weight, category, active, created_at"
ROWS = f"SELECT {COLUMNS} FROM item"
OBJECTS = f"SELECT row_to_json(item) FROM ({ROWS}) AS item"


def main(url: str, rounds: str, number: str) -> dict[str, list[dict[str, float]]]:
    """Return wall and CPU seconds of each way, by round."""
    return asyncio.run(_measure(url, int(rounds), int(number)))


async def _measure(url: str, rounds: int, number: int) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    async with DataAccessLayer.connect(url, only=["item"]) as dal:
        for _ in range(rounds):
            for name, read in WAYS.items():
                gc.collect()
                async with dal.transaction(readonly=True) as tx:
                    await tx.get_dbapi_connection()
                    wall, cpu = time.perf_counter(), time.process_time()
                    rows = await read(tx)
                    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
                if rows != number:
                    raise AssertionError(f"{name}: {rows} rows of {number}")
                found[name].append(took)
    return found


async def _nowhere(piece: bytes) -> None:
    pass


async def _copy(tx: TransactionManager, rows: str) -> int:
    driver = await tx.get_dbapi_connection()
    status: str = await driver.copy_from_query(rows, output=_nowhere)
    return int(status.rpartition(" ")[2])


async def copy_rows(tx: TransactionManager) -> int:
    """Rows as COPY's own text."""
    return await _copy(tx, ROWS)


async def copy_objects(tx: TransactionManager) -> int:
    """Rows as the objects of JSON that PostgreSQL makes of them."""
    return await _copy(tx, OBJECTS)


async def our_export(tx: TransactionManager) -> int:
    """Rows as JSON Lines, with what makes lines of COPY's text."""
    return await export(tx, select(tx.get_table("item")), _nowhere, file_format=JSON_LINES)


async def records(tx: TransactionManager) -> int:
    """Rows as asyncpg's records: what is left when nothing is done with them."""
    driver, number = await tx.get_dbapi_connection(), 0
    cursor = await driver.cursor(ROWS)
    while found := await cursor.fetch(500):
        number += len(found)
    return number


async def our_stream(tx: TransactionManager) -> int:
    """Rows as dicts."""
    number = 0
    async for _ in tx.stream(select(tx.get_table("item"))):
        number += 1
    return number


async def our_entities(tx: TransactionManager) -> int:
    """Rows as entities, and those as JSON."""
    number = 0
    async for row in tx.stream(select(tx.get_table("item"))):
        Item.model_validate(row).model_dump_json()
        number += 1
    return number


async def their_stream(tx: TransactionManager) -> int:
    """Rows as SQLAlchemy streams them."""
    number = 0
    conn = await tx.connection()
    options = {"yield_per": 500}
    async with conn.stream(select(tx.get_table("item")), execution_options=options) as result:
        async for row in result.mappings():
            dict(row)
            number += 1
    return number


WAYS: dict[str, Read] = {
    "COPY": copy_rows,
    "COPY of JSON": copy_objects,
    "export of JSON Lines": our_export,
    "stream()": our_stream,
    "stream(), entities, JSON": our_entities,
    "asyncpg's records": records,
    "SQLAlchemy's stream": their_stream,
}
