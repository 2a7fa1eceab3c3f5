"""Pages from the middle of the table, by cursor and by offset."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from my_service.db import DataAccessLayer, TransactionManager
from my_service.db.paging import KeysetQueryModel, QueryModel
from my_service.db.types import Filter, Int64
from my_service.items import Item

URL = "http://bench/v1/items"


class Feed(KeysetQueryModel, entity=Item):  # type: ignore[misc, call-arg]
    """Pages by cursor."""

    id__ge: Filter[Int64] = None
    order_by: Literal["id"] = "id"


class Listed(QueryModel, entity=Item):  # type: ignore[misc, call-arg]
    """Pages by offset."""

    order_by: Literal["id"] = "id"


def main(pages: str, rows: str) -> dict[str, float]:
    """Return the median of the seconds of a page, by cursor and by offset."""
    return asyncio.run(_measure(int(pages), int(rows)))


async def _measure(pages: int, rows: int) -> dict[str, float]:
    async with (
        DataAccessLayer.connect(os.environ["DATABASE_URL"]) as dal,
        dal.transaction(readonly=True) as tx,
    ):
        first = await Item.page(tx, Feed(id__ge=max(1, rows // 2 - 20)), URL)
        cursor = parse_qs(urlsplit(first.next_url).query)["cursor"][0]
        by_cursor, by_offset = Feed(cursor=cursor), Listed(offset=rows // 2, count="none")
        return {
            "cursor": await _median(pages, lambda: _page(tx, by_cursor)),
            "offset": await _median(min(pages, 50), lambda: _page(tx, by_offset)),
        }


async def _page(tx: TransactionManager, query: Any) -> None:
    page = await Item.page(tx, query, URL)
    if len(page.results) != 20:
        raise AssertionError(f"a page of {len(page.results)}")


async def _median(number: int, ask: Callable[[], Awaitable[None]]) -> float:
    seconds = []
    for turn in range(number + 10):
        started = time.perf_counter()
        await ask()
        if turn >= 10:
            seconds.append(time.perf_counter() - started)
    return median(seconds)
