"""Several processes share one cache: nothing is locked, lost, mixed, or loaded twice."""

import asyncio
import json
import random
import sqlite3
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from dalkit.view import Mode

from tests.paths import PROJECT
from tests.soak import rounds
from tests.view.fixtures import Statements
from tests.view.hammer import AUTHORS, FRESH_FOR
from tests.view.library import Author, Book, Library
from tests.view.test_loading import waiting_for_a_lock

FILL = f"""
TRUNCATE author CASCADE;
INSERT INTO author
    SELECT i, '700000', date '0001-01-01' + 699999 FROM generate_series(1, {AUTHORS}) i;
INSERT INTO book SELECT i, 'by ' || (1 + i % {AUTHORS}), 1 + i % {AUTHORS}, NULL
    FROM generate_series(1, {2 * AUTHORS}) i;
"""
CHANGES = (
    "UPDATE author SET born = born + 1, name = (name::integer + 1)::text WHERE id = $1",
    "UPDATE book SET author_id = $1, title = 'by ' || $1::integer WHERE id = 2 * $1",
    "DELETE FROM book WHERE id = $1",
    "INSERT INTO book VALUES ($1, 'by ' || $1::integer, $1, NULL) ON CONFLICT DO NOTHING",
)


async def start(
    *arguments: object, module: str = "tests.view.hammer"
) -> asyncio.subprocess.Process:
    """Run a module of the tests in a process of its own."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *map(str, arguments)),
        cwd=PROJECT,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.parametrize("cache", ["file", "postgres"], indirect=True)
async def test_processes_hammer_one_cache(
    library_url: str, db_of_library: asyncpg.Connection, tmp_path: Path, cache: str
) -> None:
    seconds = rounds(2, 60)
    await db_of_library.execute(FILL)
    log, stop = tmp_path / "loads", tmp_path / "stop"
    where = library_url, cache, log, stop
    async with Library(library_url, cache=cache):
        pass  # so that all of them find it
    running: list[asyncio.subprocess.Process] = []
    try:
        running += [await start(*where, what) for what in ("load", "load", "load", "refresh")]
        async with asyncio.timeout(120):
            while {one[0] for one in loads_of(log)} != {one.pid for one in running}:
                await change_something(db_of_library)
        until = time.monotonic() + seconds / 2
        while time.monotonic() < until:
            await change_something(db_of_library)
        running[0].kill()
        await running[0].wait()
        running.append(await start(*where, "load"))
        until = time.monotonic() + seconds / 2
        others = {running[0].pid, running[3].pid}  # the killed one, and the one that refreshes
        async with asyncio.timeout(seconds / 2 + 120):
            while time.monotonic() < until or not has_much(loads_of(log), running[4].pid, others):
                await change_something(db_of_library)
        stop.touch()
        ends = await asyncio.gather(*[one.communicate() for one in running[1:]])
    finally:
        for one in running:
            if one.returncode is None:
                one.kill()
    assert [error.decode() for _, error in ends] == [""] * 4
    assert [one.returncode for one in running] == [-9, 0, 0, 0, 0]
    assert repeated([one for one in loads_of(log) if one[0] not in others]) == []
    await nothing_is_lost(db_of_library, library_url, cache)
    if cache.startswith("sqlite"):
        connection = sqlite3.connect(tmp_path / "library.cache")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()


def loads_of(log: Path) -> list[Any]:
    """What the processes have loaded so far: process, kind, time and keys."""
    text = log.read_text() if log.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


async def change_something(conn: asyncpg.Connection) -> None:
    """Change, move, delete and add."""
    for change in CHANGES:
        await conn.execute(change, random.randint(1, AUTHORS))
    await asyncio.sleep(0.02)


def has_much(loads: list[Any], last: int, others: set[int]) -> bool:
    """Whether the last process has loaded, and the first ones at least half of what there is."""
    things = {(one[1], key) for one in loads if one[0] not in others for key in one[3]}
    return last in {one[0] for one in loads} and len(things) > AUTHORS


def repeated(loads: list[Any]) -> list[Any]:
    """Authors and sets of books that were loaded again before they were too old."""
    times: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _, kind, at, keys in loads:
        if kind in ("Author", "author_id"):
            for key in keys:
                times[kind, key].append(at)
    return [
        (thing, later - earlier)
        for thing, some in times.items()
        for earlier, later in zip(sorted(some), sorted(some)[1:], strict=False)
        if later - earlier < FRESH_FOR
    ]


async def nothing_is_lost(conn: asyncpg.Connection, url: str, cache: str) -> None:
    """After a last look at the origin the cache is what the origin is."""
    async with Library(url, cache=cache) as view:
        await view.load(Author, include=(Author.books,))
    async with Library(None, cache=cache, mode=Mode.OFFLINE) as view:
        authors = await view.load(Author, include=(Author.books,))
        found = {b.id: b.author_id for one in authors for b in await one.books}
    assert found == dict(await conn.fetch("SELECT id, author_id FROM book"))


ONE_LOAD = """
import asyncio, sys
from dalkit.view import Mode
from tests.view.library import Library

async def main():
    url, file = sys.argv[1:]
    async with Library(url, cache=file, mode=Mode.PREFER_CACHE, fresh_for=60) as view:
        await view.Book(2)
        print("ready", flush=True)
        sys.stdin.readline()
        print((await view.Author(1)).name)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("is_killed", [False, True])
async def test_what_another_process_is_loading_is_waited_for(
    origin: AsyncEngine,
    statements: Statements,
    db_of_library: asyncpg.Connection,
    library_url: str,
    file: str,
    is_killed: bool,
) -> None:
    """And taken over when that process dies."""
    async with Library(origin, cache=file, mode=Mode.PREFER_CACHE, fresh_for=60) as view:
        await view.Book(1)
        await statements.sent()
        other = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", ONE_LOAD, library_url, file),
            cwd=PROJECT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert other.stdout is not None
        assert await other.stdout.readline() == b"ready\n"
        async with db_of_library.transaction():
            await db_of_library.execute("LOCK TABLE author")
            assert other.stdin is not None
            other.stdin.write(b"\n")
            await waiting_for_a_lock(db_of_library)
            mine = asyncio.ensure_future(view.Author(1))
            await asyncio.sleep(0.2)  # time enough to send a statement, were it not waited for
            assert not mine.done()
            waiting = (
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'author'::regclass"
            )
            assert await db_of_library.fetchval(waiting) == 1
            if is_killed:
                other.kill()
                await other.wait()
        assert (await asyncio.wait_for(mine, 20)).name == "Lem"
        assert await statements.count() == is_killed
        await other.communicate()


async def test_readers_do_not_wait_for_a_writer(origin: AsyncEngine, tmp_path: Path) -> None:
    path = tmp_path / "library.cache"
    async with Library(origin, cache=path) as view:
        await view.load(Book, include=(Book.author,))
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM rows")
    try:
        async with asyncio.timeout(10):
            view = Library(None, cache=path, mode=Mode.OFFLINE)
            view._space.is_live = True
            await view._cache.open()
            await view._binding.open()
            assert (await view.Author(1)).name == "Lem"
            assert len(await view.load(Book)) == 4
    finally:
        writer.execute("ROLLBACK")
        writer.close()
    await view.__aexit__(None, None, None)
