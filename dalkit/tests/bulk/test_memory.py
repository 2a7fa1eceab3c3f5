"""Memory does not grow with the file."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import asyncio, resource, sys
from collections.abc import AsyncIterator
from pathlib import Path
from sqlalchemy import Column, Integer, Text, literal_column, select, text
from dalkit import DataAccessLayer
from dalkit.bulk import CSV, JSON_LINES, export, load

ROWS = 300_000

def peak():
    if sys.platform == "linux":  # where ru_maxrss begins with that of whoever started the process
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

async def rows(first: bytes, line: bytes, number: int) -> AsyncIterator[bytes]:
    yield first
    for start in range(0, number, 1000):
        yield b"".join(line % (n, b"t" * 80) for n in range(start, min(start + 1000, number)))

async def nowhere(piece: bytes) -> None:
    pass

async def run(transaction, number):
    columns = [Column("n", Integer), Column("t", Text)]
    for first, line, file_format in (
        (b"n,t\\n", b"%d,%b\\n", CSV),
        (b"\\n", b'{"n": %d, "t": "%b\\\\n"}\\n', JSON_LINES),
    ):
        source = rows(first, line, number)
        move = lambda staging: select(literal_column("1"))
        await load(transaction, source, move, columns=columns, file_format=file_format)
        numbers = text(f"SELECT n, repeat('t', 80) AS t FROM generate_series(1, {number}) AS n")
        await export(transaction, numbers, nowhere, file_format=file_format)

async def main():
    async with DataAccessLayer.connect(sys.argv[1], only=["book"]) as dal:
        async with dal.transaction() as transaction:
            await run(transaction, 20_000)
            before = peak()
            await run(transaction, ROWS)
            print(peak() - before)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the peak.")
def test_peak_memory_stays_flat(test_database: str) -> None:
    """Peak resident size of a fresh process, in KiB: 300,000 rows (30 MB) in and out, both ways."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, test_database],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert int(done.stdout) < 10 * 1024
