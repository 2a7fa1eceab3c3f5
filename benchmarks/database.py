"""Databases, and the table `item`."""

import asyncio
from typing import Any

import asyncpg

#: Nothing that happens now and then, and nothing that waits for the disk.
SETTINGS = {
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "450",
    "max_wal_size": "4GB",
    "shared_buffers": "256MB",
    "synchronous_commit": "off",
    "timezone": "UTC",
}
TABLE = """
CREATE TABLE item (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code uuid NOT NULL,
    name text NOT NULL,
    quantity integer NOT NULL,
    weight double precision NOT NULL,
    category integer NOT NULL,
    active boolean NOT NULL,
    created_at timestamptz NOT NULL
)
"""
INDEX = "CREATE INDEX ix_item_category_id ON item (category, id)"
FILL = """
INSERT INTO item (id, code, name, quantity, weight, category, active, created_at)
OVERRIDING SYSTEM VALUE
SELECT id, digest::uuid, 'Item number ' || id, ('x' || substr(digest, 1, 4))::bit(16)::int % 1000,
    (id % 1000) / 8.0, id % 100, id % 3 = 0,
    timestamptz '2026-01-01 00:00:00+00' + id * interval '61.007 seconds'
FROM (SELECT id, md5(id::text) AS digest FROM generate_series(1, {rows}) AS id) AS numbered
ORDER BY id
"""
#: The next key is the one after `rows`.
RESTART = "SELECT setval(pg_get_serial_sequence('item', 'id'), {rows} + 1, false)"
VACUUM = "VACUUM ANALYZE item"


async def ask(url: str, *statements: str) -> Any:
    """Run the statements and return the first value of the last one."""
    connection = await asyncpg.connect(url)
    try:
        answers = [await connection.fetch(statement) for statement in statements]
        return answers[-1][0][0] if answers[-1] else None
    finally:
        await connection.close()


def create_database(server_url: str, name: str) -> None:
    """Create a database on the server that has the one of `server_url`."""
    asyncio.run(ask(server_url, f'CREATE DATABASE "{name}"'))


def create_items(url: str, rows: int) -> None:
    """Create the table `item` with `rows` rows."""
    fill, restart = FILL.format(rows=rows), RESTART.format(rows=rows)
    asyncio.run(ask(url, TABLE, INDEX, fill, restart, VACUUM))


def forget_created(url: str, rows: int, *, keys: bool) -> None:
    """Delete what was added to the first `rows` items.

    With `keys` the next one has the key after theirs. Not after a load: a server may still be at
    work on the last requests, and would take keys that are given a second time.
    """
    restart = [RESTART.format(rows=rows)] if keys else []
    asyncio.run(ask(url, f"DELETE FROM item WHERE id > {rows}", *restart, VACUUM))
