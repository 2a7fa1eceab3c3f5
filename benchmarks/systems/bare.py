"""The limit: an ASGI function, asyncpg's pool, SQL by hand, orjson.

It checks nothing of what it is sent. BARE_AUTOCOMMIT=1 leaves BEGIN and COMMIT of a POST out.
"""

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

import asyncpg
import orjson
from starlette.types import Receive, Scope, Send

from .shared import (
    DATABASE_URL,
    INSERT,
    POOL_SIZE,
    SELECT_COUNT,
    SELECT_ONE,
    SELECT_PAGE,
    links,
)

AUTOCOMMIT = os.environ.get("BARE_AUTOCOMMIT") == "1"
ITEMS = "/v1/items"
JSON = (b"content-type", b"application/json")
pool: Any = None


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer the three routes; anything else is a 404."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    path: str = scope["path"]
    if scope["method"] == "POST":
        await _answer(send, 201, await _create(await _body(receive)))
    elif path == ITEMS:
        await _answer(send, 200, await _page(scope))
    elif row := await pool.fetchrow(SELECT_ONE, int(path[len(ITEMS) + 1 :])):
        await _answer(send, 200, dict(row))
    else:
        await _answer(send, 404, {"status": 404})


async def _page(scope: Scope) -> dict[str, Any]:
    query = scope["query_string"].decode()
    asked = dict(parse_qsl(query))
    limit, offset = int(asked["limit"]), int(asked.get("offset", 0))
    filters = int(asked["category__eq"]), int(asked["quantity__ge"])
    total = None
    async with pool.acquire() as connection:
        rows = await connection.fetch(SELECT_PAGE, *filters, limit + 1, offset)
        if asked.get("count") != "none":
            total = await connection.fetchval(SELECT_COUNT, *filters)
    return {
        "results": [dict(row) for row in rows[:limit]],
        "total_count": total,
        **links(ITEMS, query, limit, offset, len(rows) > limit, total),
    }


async def _create(new: Mapping[str, Any]) -> dict[str, Any]:
    created_at = datetime.fromisoformat(new["created_at"])
    values = [*(new[name] for name in ("code", "name", "quantity", "weight")), new["category"]]
    async with pool.acquire() as connection:
        if AUTOCOMMIT:
            return dict(await connection.fetchrow(INSERT, *values, new["active"], created_at))
        async with connection.transaction():
            row = await connection.fetchrow(INSERT, *values, new["active"], created_at)
        return dict(row)


async def _body(receive: Receive) -> Mapping[str, Any]:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    parsed: Mapping[str, Any] = orjson.loads(body)
    return parsed


async def _answer(send: Send, status: int, content: Any) -> None:
    # asyncpg's UUID is a subclass, which orjson refuses: `default` writes it.
    body = orjson.dumps(content, default=str, option=orjson.OPT_UTC_Z)
    headers = [JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _live(receive: Receive, send: Send) -> None:
    global pool  # noqa: PLW0603 - an ASGI function has no other place
    await receive()
    pool = await asyncpg.create_pool(
        DATABASE_URL, min_size=POOL_SIZE, max_size=POOL_SIZE, reset=_keep
    )
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await pool.close()
    await send({"type": "lifespan.shutdown.complete"})


async def _keep(connection: Any) -> None:
    """Save the round trip with which asyncpg resets a connection: there is nothing to reset."""
