"""The supervisor of one PostgreSQL server: its parent, which ends with its last user.

Run by postgres.py with the arguments START_FD DATA_DIR keep|remove [--OPTION ...].
Prints the port, or what went wrong. `remove` ends with the removal of the folder of DATA_DIR.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from ..postgres import PostgresError, RunFolder
from .account import choose_account
from .binaries import usable_binaries
from .data import prepare_data
from .pid_file import read_pid_file, stop_orphan

START_ATTEMPTS = 3  # another process may take the port first
START_TIMEOUT = 60.0  # seconds, enough for a crash recovery
STOP_TIMEOUT = 10.0


def main() -> None:
    """Start the server, wait for its end or its last user's, leave nothing behind."""
    if os.fork():
        os._exit(0)  # a daemon is init's child, so no user has to reap it
    start_fd, data_dir, on_end, *options = sys.argv[1:]
    run = RunFolder(Path(data_dir))
    with run.server.open("r+") as server, run.users.open() as users:
        fcntl.flock(server, fcntl.LOCK_EX)
        server.truncate()
        try:
            process, port = start(Path(data_dir), options)
        except PostgresError as error:
            sys.exit(print(error))
        server.write(str(port))
        server.flush()
        report(port, int(start_fd))
        supervise(process, users)
        server.truncate(0)
        if on_end == "remove":
            fcntl.flock(users, fcntl.LOCK_EX)  # the users of a crashed server may read its log
            shutil.rmtree(run.path.parent, ignore_errors=True)
        # The kernel lets go of `server` and then of `users`, in the order of their descriptors:
        # who waits for either finds nothing running, not even an interpreter that tidies up.
        os._exit(0)


def report(port: int, start_fd: int) -> None:
    """Tell the user who started us, and let others join."""
    print(port, flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    os.close(start_fd)


def supervise(process: subprocess.Popen[str], users: IO[str]) -> None:
    """Return when the server has ended: because its users left, we were told to, or it crashed."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: process.send_signal(signal.SIGINT))
    threading.Thread(target=stop_after_last_user, args=(process, users), daemon=True).start()
    if status := process.wait():
        print(f"PostgreSQL ended with status {status}", file=sys.stderr, flush=True)


def stop_after_last_user(process: subprocess.Popen[str], users: IO[str]) -> None:
    """Wait until no user holds the lock, then stop the server: fast, and if need be at once."""
    fcntl.flock(users, fcntl.LOCK_EX)
    process.send_signal(signal.SIGINT)
    time.sleep(STOP_TIMEOUT)
    process.send_signal(signal.SIGQUIT)


def start(data_dir: Path, options: list[str]) -> tuple[subprocess.Popen[str], int]:
    """Return the running server and its port. Raises PostgresError."""
    run = RunFolder(data_dir)
    account = choose_account(data_dir)
    bin_dir, major = usable_binaries(account, run.path / "binaries")
    stop_orphan(data_dir)
    prepare_data(data_dir, bin_dir, major, account)
    for _ in range(START_ATTEMPTS):
        port = free_port()
        command = [str(bin_dir / "postgres"), "-D", str(data_dir), "-p", str(port)]
        command += ["--listen_addresses=127.0.0.1", "--unix_socket_directories=", *options]
        with run.log.open("a") as log:
            process = account.popen(command, log)
        if is_ready(process, data_dir):
            return process, port
    raise PostgresError(f"PostgreSQL does not start in {data_dir}:\n{run.log_tail()}")


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_ready(process: subprocess.Popen[str], data_dir: Path) -> bool:
    """Wait for the server; return False when it ends or takes longer than START_TIMEOUT."""
    deadline = time.monotonic() + START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        lines = read_pid_file(data_dir)
        if len(lines) > 7 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
            return True
        time.sleep(0.005)
    process.kill()
    process.wait()
    return False


if __name__ == "__main__":
    main()
