"""The program of the guide, with its origin and without it; and one that is interrupted."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import asyncpg
import pytest

from tests.docs.pages import DOCS, blocks_of
from tests.paths import PROJECT
from tests.view.test_loading import waiting_for_a_lock

DEAD = "postgresql://nobody@127.0.0.1:1/none"
LEM = "- Solaris\n- Eden\n- Fiasco\n"


async def run(folder: Path, *arguments: str) -> tuple[int | None, str, str]:
    """Return the status, the output and the last line of stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "library.py", *arguments),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


@pytest.mark.slow
async def test_the_program_of_the_guide_works_with_and_without_its_origin(
    library_url: str, db_of_library: asyncpg.Connection, tmp_path: Path
) -> None:
    page = DOCS / "view.md"
    (program,) = [one for one in blocks_of(page) if one.title == "library.py"]
    assert len([line for line in program.text.splitlines() if line.strip()]) <= 40
    (tmp_path / "library.py").write_text(program.text)
    status, _, errors = await run(tmp_path, "1")
    assert status == 1
    assert "open the view once with its origin" in errors
    assert await run(tmp_path, "1", "--origin", library_url) == (0, f"Lem \n{LEM}", "")
    assert await run(tmp_path, "1") == (0, f"Lem (from the cache)\n{LEM}", "")
    assert await run(tmp_path, "2") == (1, "", "Author(2) is not in the cache.\n")
    status, output, errors = await run(tmp_path, "1", "--origin", DEAD)
    assert (status, output) == (0, f"Lem (from the cache)\n{LEM}")
    assert errors.startswith("The origin cannot be reached")
    assert errors.count("\n") == 1


@pytest.mark.slow
async def test_the_program_says_in_a_sentence_why_it_cannot_be_used(
    library_url: str, db_of_library: asyncpg.Connection, tmp_path: Path
) -> None:
    (program,) = [one for one in blocks_of(DOCS / "view.md") if one.title == "library.py"]
    (tmp_path / "library.py").write_text(program.text)
    server = library_url.rpartition("/")[0]
    for origin, reason in (
        (f"{server}/nowhere?sslmode=disable", "has no such database: create it with createdb"),
        (DEAD, "cannot be reached"),
        ("sqlite:///x", "this service needs PostgreSQL"),
        ("nonsense", "cannot be parsed"),
    ):
        status, output, errors = await run(tmp_path, "1", "--origin", origin)
        assert (status, output, errors.count("\n")) == (1, "", 1)
        assert reason in errors
    missing = (1, "", f"Author({2**70}) does not exist.\n")
    assert await run(tmp_path, str(2**70), "--origin", library_url) == missing


INTERRUPTED = """
import asyncio, sys
from tests.view.library import Library

async def main():
    async with Library(sys.argv[1], cache=sys.argv[2]) as view:
        await view.Book(1)
        print("ready", flush=True)
        sys.stdin.readline()
        await asyncio.gather(*[view.Author(i) for i in range(100)])

asyncio.run(main())
"""


@pytest.mark.slow
async def test_an_interrupted_program_ends_at_once_and_leaves_nothing(
    library_url: str, db_of_library: asyncpg.Connection, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-c", INTERRUPTED),
        *(library_url, f"sqlite:///{tmp_path}/library.cache"),
        cwd=PROJECT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert await process.stdout.readline() == b"ready\n"
    async with db_of_library.transaction():
        await db_of_library.execute("LOCK TABLE author")
        process.stdin.write(b"\n")
        await waiting_for_a_lock(db_of_library)
        process.send_signal(signal.SIGINT)
        _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == -signal.SIGINT
    assert errors.decode().splitlines()[-1] == "KeyboardInterrupt"
    for sign in ("was destroyed", "never retrieved", "ResourceWarning", "never awaited"):
        assert sign not in errors.decode()
    assert os.listdir(tmp_path) == ["library.cache"]  # no -wal is left  # noqa: PTH208
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name = 'dalkit.view' AND datname = current_database()"
    )
    async with asyncio.timeout(20):
        while await db_of_library.fetchval(query):
            await asyncio.sleep(0.01)
