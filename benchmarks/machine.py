"""The machine: which core does what, and how a result describes it."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

PACKAGES = (
    "fastapi",
    "starlette",
    "pydantic",
    "uvicorn",
    "uvloop",
    "sqlalchemy",
    "asyncpg",
    "psycopg",
    "sqlmodel",
    "orjson",
    "pyjwt",
)


@cache
def cores() -> list[int]:
    """Return the cores that processes may be pinned to; none where that is not possible.

    They are those before the first `pin`, which asks here first.
    """
    if sys.platform != "linux":
        return []
    return sorted(os.sched_getaffinity(0))


def pin(core: int | None, process: int = 0) -> None:
    """Keep `process` (0: this one) and what it starts from now on, on one core."""
    if cores() and core is not None:
        os.sched_setaffinity(process, {core})


def server_and_load_core() -> tuple[int | None, int | None]:
    """Return the core of the server and that of everything else; None twice with one core."""
    available = cores()
    return (available[0], available[1]) if len(available) > 1 else (None, None)


@contextmanager
def on_server_core() -> Iterator[None]:
    """Start processes on the core of the server meanwhile."""
    server, load = server_and_load_core()
    pin(server)
    try:
        yield
    finally:
        pin(load)


@contextmanager
def unpinned(*processes: int) -> Iterator[None]:
    """Let this process, and others with what they start, run on every core meanwhile."""
    _, load = server_and_load_core()
    for process in (0, *processes) if cores() else ():
        os.sched_setaffinity(process, cores())
    try:
        yield
    finally:
        for process in (0, *processes):
            pin(load, process)


def describe_cores() -> str:
    """Return the sentence about pinning."""
    if server_and_load_core() == (None, None):
        reason = "one core only" if cores() else "this system cannot pin a process"
        return f"Server, load and Postgres share what there is ({reason}): expect noise."
    return "The server has one core to itself; load and Postgres share another."


def describe() -> str:
    """Return versions, machine and date in a few lines of Markdown, without names or paths."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    kernel = f"{platform.system()} {platform.release().partition('-')[0]}"
    processor = f"{_processor()}, {os.cpu_count()} cores, {kernel}"
    return (
        f"{datetime.now(UTC):%Y-%m-%d}; {processor}; Python {platform.python_version()}; "
        f"{packages}."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
