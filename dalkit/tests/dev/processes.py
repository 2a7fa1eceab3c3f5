"""Users of the embedded PostgreSQL as processes of their own, and what they leave behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import asyncpg

from tests.paths import PROJECT

COMMAND = [str(Path(sys.executable).with_name("dalkit")), "postgres"]


class User:
    """`dalkit postgres` on `data_dir`, up and running unless `wait` is false."""

    active: ClassVar[list["User"]] = []

    def __init__(self, data_dir: Path, *, wait: bool = True) -> None:
        command = [*COMMAND, "--data-dir", str(data_dir)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdout=pipe, stderr=pipe, text=True, process_group=0
        )
        self.active.append(self)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip() if wait else ""

    def leave(self, number: int = signal.SIGINT) -> str:
        """Signal its process group, as a terminal does; return what it wrote to stderr."""
        self.active.remove(self)
        os.killpg(self.process.pid, number)
        return self.process.communicate(timeout=10)[1]


def run_python(code: str, *arguments: object) -> str:
    """Return what `code`, run by a Python of its own in the project, printed."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    result = subprocess.run(command, check=False, cwd=PROJECT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def query(url: str, sql: str = "SELECT 'answered'") -> object:
    """Return the first value of the answer to `sql`."""

    async def ask() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(ask())


def processes_of(data_dir: Path | str) -> dict[int, str]:
    """Return the command lines of the processes that mention `data_dir`, ours excepted."""
    if Path("/proc/self/cmdline").exists():
        commands = {int(path.name): _command(path) for path in Path("/proc").glob("[0-9]*")}
    else:
        listed = subprocess.run(["ps", "-axo", "pid=,command="], capture_output=True, check=True)
        lines = (line.split(maxsplit=1) for line in listed.stdout.decode().splitlines())
        commands = {int(pid): command for pid, command in lines}
    mine = (os.getpid(), os.getppid())
    return {pid: it for pid, it in commands.items() if str(data_dir) in it and pid not in mine}


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:  # it has ended
        return ""


def server_of(data_dir: Path) -> int:
    """Return the id of the server's first process."""
    return int((data_dir / "postmaster.pid").read_text().split()[0])


def supervisor_of(data_dir: Path) -> int:
    """Return the id of the server's parent."""
    [pid] = (pid for pid, it in processes_of(data_dir).items() if "dalkit.dev.supervisor" in it)
    return pid


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Wait until `condition` holds; return whether it did in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_left_alone(data_dir: Path) -> bool:
    """Return whether no process and no pid file of a server are left."""
    return not processes_of(data_dir) and not (data_dir / "postmaster.pid").exists()
