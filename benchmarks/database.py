"""The one Postgres of a run: the generated service's own launcher, and the table `item`."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from .errors import BenchmarkError
from .project import Project

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
#: The database that others are copied from.
MIGRATED = "migrated"
FILL = """
INSERT INTO item (id, code, name, quantity, weight, category, active, created_at)
OVERRIDING SYSTEM VALUE
SELECT id, digest::uuid, 'Item number ' || id, ('x' || substr(digest, 1, 4))::bit(16)::int % 1000,
    (id % 1000) / 8.0, id % 100, id % 3 = 0,
    timestamptz '2026-01-01 00:00:00+00' + id * interval '61.007 seconds'
FROM (SELECT id, md5(id::text) AS digest FROM generate_series(1, $1::bigint) AS id) AS numbered
ORDER BY id
"""
#: The next key is the one after `rows`.
RESTART = "SELECT setval(pg_get_serial_sequence('item', 'id'), {rows} + 1, false)"


@contextmanager
def postgres(project: Project, folder: Path) -> Iterator[Any]:
    """Yield a server with its data in `folder`; `.url(database)` names its databases."""
    launcher = project.tool("postgres")
    with launcher.cluster(folder / "data", settings=SETTINGS) as cluster:
        yield cluster


async def ask(url: str, *statements: str) -> Any:
    """Run the statements and return the first value of the last one."""
    connection = await asyncpg.connect(url)
    try:
        answers = [await connection.fetch(statement) for statement in statements]
        return answers[-1][0][0] if answers[-1] else None
    finally:
        await connection.close()


def create_migrated(project: Project, server: Any) -> None:
    """Create the database that others are copied from."""
    project.tool("database").create_database(server.url("postgres"), MIGRATED)
    migrate(project, server.url(MIGRATED))


def create_item_table(server: Any, rows: int, name: str) -> str:
    """Create a database with the service's schema and `rows` items; return its URL."""
    copy = f'CREATE DATABASE "{name}" TEMPLATE "{MIGRATED}"'
    asyncio.run(ask(server.url("postgres"), copy))
    url = str(server.url(name))
    asyncio.run(_fill(url, rows))
    return url


def migrate(project: Project, url: str) -> None:
    """Upgrade the database with the service's own command."""
    done = subprocess.run(
        [sys.executable, "-m", f"{project.package}.cli", "db", "sync"],
        cwd=project.folder,
        env={**os.environ, "DATABASE_URL": url, "PYTHONPATH": project.python_path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchmarkError(f"`db sync` failed:\n{done.stdout}{done.stderr}")


async def _fill(url: str, rows: int) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(FILL, rows)
        await connection.execute(RESTART.format(rows=rows))
        await connection.execute("VACUUM ANALYZE item")
    finally:
        await connection.close()


def forget_created(url: str, rows: int, *, keys: bool) -> None:
    """Delete what was added to the first `rows` items.

    With `keys` the next one has the key after theirs. Not after a load: a server may still be at
    work on the last requests, and would take keys that are given a second time.
    """
    restart = [RESTART.format(rows=rows)] if keys else []
    statements = [f"DELETE FROM item WHERE id > {rows}", *restart]
    asyncio.run(ask(url, *statements, "VACUUM ANALYZE item"))
