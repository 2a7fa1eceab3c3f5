"""Pages from the middle of the table, by cursor and by offset."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from statistics import median
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from dalkit.data import DataAccessLayer, TransactionManager
from dalkit.paging import KeysetQueryModel, QueryModel
from dalkit.types import Filter, Int64

from ..items import Item

URL = "http://bench/v1/items"
WARM_UP = 10  # pages
Ask = Callable[[], Awaitable[None]]


class Feed(KeysetQueryModel, entity=Item):
    """Pages by cursor."""

    id__ge: Filter[Int64] = None
    order_by: Literal["id"] = "id"


class Listed(QueryModel, entity=Item):
    """Pages by offset."""

    order_by: Literal["id"] = "id"


def main(pages: str, *tables: str) -> dict[str, dict[str, float]]:
    """Return the median of the seconds of a page, by cursor and by offset, by number of rows.

    A table is given as the number of its rows, `=` and the URL of its database. They take turns
    page by page, so that what else the machine does meets all of them.
    """
    return asyncio.run(_measure(int(pages), [table.partition("=") for table in tables]))


async def _measure(pages: int, tables: list[tuple[str, str, str]]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {rows: {} for rows, _, _ in tables}
    async with AsyncExitStack() as stack:
        asked: dict[str, dict[str, Ask]] = {"cursor": {}, "offset": {}}
        for rows, _, url in tables:
            dal = await stack.enter_async_context(DataAccessLayer.connect(url))
            tx = await stack.enter_async_context(dal.transaction(readonly=True))
            for way, ask in (await _ways(tx, int(rows))).items():
                asked[way][rows] = ask
        # One way after the other: a large offset leaves nothing in the processor's caches.
        for way, asks in asked.items():
            for rows, seconds in (await _turns(asks, pages)).items():
                found[rows][way] = seconds
    return found


async def _turns(asks: dict[str, Ask], pages: int) -> dict[str, float]:
    found: dict[str, list[float]] = {rows: [] for rows in asks}
    for turn in range(pages + WARM_UP):
        for rows, ask in asks.items():
            started = time.perf_counter()
            await ask()
            if turn >= WARM_UP:
                found[rows].append(time.perf_counter() - started)
    return {rows: median(seconds) for rows, seconds in found.items()}


async def _ways(tx: TransactionManager, rows: int) -> dict[str, Ask]:
    first = await Item.page(tx, Feed(id__ge=max(1, rows // 2 - 20)), URL)
    cursor = parse_qs(urlsplit(str(first.next_url)).query)["cursor"][0]
    listed = Listed(offset=rows // 2, count="none")
    return {
        "cursor": lambda: _page(tx, Feed(cursor=cursor)),
        "offset": lambda: _page(tx, listed),
    }


async def _page(tx: TransactionManager, query: Any) -> None:
    page = await Item.page(tx, query, URL)
    if len(page.results) != 20:
        raise AssertionError(f"a page of {len(page.results)}")
