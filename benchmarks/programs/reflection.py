"""One reflection in a fresh process, once the connection is open."""

import asyncio
import time

from dalkit.data import DataAccessLayer
from dalkit.data.engine import create_engine
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import AsyncEngine


def main(url: str, way: str, number: str) -> float:
    """Return the seconds that it takes; raises AssertionError when tables are missing."""
    return asyncio.run(_measure(url, way, int(number)))


async def _measure(url: str, way: str, number: int) -> float:
    engine = create_engine(url)
    async with engine.connect() as conn:
        await conn.execute(text("SELECT 1"))
    started = time.perf_counter()
    tables = await WAYS[way](engine)
    took = time.perf_counter() - started
    if tables is not None and tables != number:
        raise AssertionError(f"{tables} tables were reflected, there are {number}")
    await engine.dispose()
    return took


async def plain(engine: AsyncEngine) -> int:
    """SQLAlchemy's way."""
    metadata = MetaData()
    async with engine.connect() as conn:
        await conn.run_sync(metadata.reflect)
    return len(metadata.tables)


async def ready(engine: AsyncEngine) -> None:
    """Ours, until a service can start."""
    await DataAccessLayer().reflect(engine)


async def used(engine: AsyncEngine) -> int:
    """Ours, and every table was used."""
    dal = DataAccessLayer()
    await dal.reflect(engine)
    return len(dal.metadata.tables)


WAYS = {"plain": plain, "ready": ready, "used": used}
