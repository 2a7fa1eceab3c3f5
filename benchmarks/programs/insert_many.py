"""Many rows in one go: the library's insert_many and SQLAlchemy's insertmanyvalues, in turn."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from dalkit.data import DataAccessLayer
from dalkit.entities.insert_many import insert_many
from sqlalchemy import insert

from ..items import Item

Rows = list[dict[str, Any]]
Write = Callable[[DataAccessLayer, Rows], Awaitable[object]]


def main(url: str, rounds: str, number: str) -> dict[str, list[dict[str, float]]]:
    """Return wall and CPU seconds of each way, by round; few rows are written several times."""
    return asyncio.run(_measure(url, int(rounds), int(number)))


async def _measure(url: str, rounds: int, number: int) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    given = [_row(i) for i in range(number)]
    times = max(1, 1000 // number)
    async with DataAccessLayer.connect(url) as dal:
        for turn in range(rounds + 1):
            for name, write in WAYS.items():
                gc.collect()  # so that none pays for what the one before left
                wall, cpu = time.perf_counter(), time.process_time()
                for _ in range(times):
                    written = await write(dal, given)
                took = {
                    "wall": (time.perf_counter() - wall) / times,
                    "cpu": (time.process_time() - cpu) / times,
                }
                if written is not None and len(written) != number:  # type: ignore[arg-type]
                    raise AssertionError(f"{name} returned other rows than it was given")
                del written
                if turn:  # the first turn compiles and caches
                    found[name].append(took)
    return found


def _row(number: int) -> dict[str, Any]:
    return {
        "code": UUID(int=number),
        "name": f"Item number {number}",
        "quantity": number % 1000,
        "weight": number / 8,
        "category": number % 100,
        "active": number % 2 == 0,
        "created_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
    }


async def our_entities(dal: DataAccessLayer, rows: Rows) -> object:
    """Return the rows as entities."""
    async with dal.transaction(with_commit=False) as tx:
        return await Item.insert_many(tx, rows)


async def their_entities(dal: DataAccessLayer, rows: Rows) -> object:
    """Return the rows as entities, which are made one by one."""
    return [Item.model_validate(row) for row in await _theirs(dal, rows)]


async def our_rows(dal: DataAccessLayer, rows: Rows) -> object:
    """Return the rows as dicts."""
    async with dal.transaction(with_commit=False) as tx:
        return await insert_many(tx, dal.get_table("item"), rows, Item)


async def their_rows(dal: DataAccessLayer, rows: Rows) -> object:
    """Return the rows as mappings."""
    return await _theirs(dal, rows)


async def our_number(dal: DataAccessLayer, rows: Rows) -> None:
    """Return nothing of the rows."""
    async with dal.transaction(with_commit=False) as tx:
        await Item.insert_many(tx, rows, returning=False)


async def their_number(dal: DataAccessLayer, rows: Rows) -> None:
    """Return nothing of the rows; asyncpg's dialect uses executemany for it."""
    async with dal.engine.connect() as conn:
        await conn.execute(insert(dal.get_table("item")), rows)


async def _theirs(dal: DataAccessLayer, rows: Rows) -> Any:
    table = dal.get_table("item")
    statement = insert(table).returning(*table.c, sort_by_parameter_order=True)
    async with dal.engine.connect() as conn:
        return (await conn.execute(statement, rows)).mappings().all()


WAYS: dict[str, Write] = {
    "entities": our_entities,
    "entities, theirs": their_entities,
    "rows": our_rows,
    "rows, theirs": their_rows,
    "nothing": our_number,
    "nothing, theirs": their_number,
}
