"""postmaster.pid, which PostgreSQL keeps in the data directory it serves."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from ..postgres import PostgresError

STOP_TIMEOUT = 10.0  # seconds


def read_pid_file(data_dir: Path) -> list[str]:
    """Return the lines of postmaster.pid: the process id first, the state eighth."""
    try:
        return (data_dir / "postmaster.pid").read_text(errors="replace").splitlines()
    except OSError:
        return []


def stop_orphan(data_dir: Path) -> None:
    """End a server that lost its supervisor, and forget one whose id is now a stranger's.

    Where a process cannot die with its parent (not Linux) this is what ends an orphan.
    """
    lines = read_pid_file(data_dir)
    if not lines or not lines[0].isdecimal() or not is_alive(int(lines[0])):
        return
    pid = int(lines[0])
    if not serves(pid, data_dir):
        (data_dir / "postmaster.pid").unlink()
        return
    os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + STOP_TIMEOUT
    while serves(pid, data_dir):
        if time.monotonic() > deadline:
            raise PostgresError(f"Process {pid} still serves {data_dir}: end it.")
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Return whether a process has this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def serves(pid: int, data_dir: Path) -> bool:
    """Return whether the process is a server of `data_dir`, which is its working directory."""
    if Path("/proc/self/cwd").exists():
        try:
            return Path(f"/proc/{pid}/cwd").samefile(data_dir)
        except OSError:
            return False
    command = ["ps", "-o", "command=", "-p", str(pid)]
    listed = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    return str(data_dir) in listed
