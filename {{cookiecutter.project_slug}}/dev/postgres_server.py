"""The supervisor of one PostgreSQL server: its parent, which ends with its last user.

Run by postgres.py as `python -m dev.postgres_server DATA_DIR START_FD keep|remove [--OPTION ...]`.
Prints `ready`, or what went wrong. `remove` ends with the removal of the folder of DATA_DIR.
"""

from __future__ import annotations

import fcntl
import locale
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from .postgres import PostgresError, RunFolder
from .postgres_account import Account, choose_account
from .postgres_binaries import copy_binaries, find_binaries

START_TIMEOUT = 60.0  # seconds, enough for a crash recovery
STOP_TIMEOUT = 10.0


def main() -> None:
    """Start the server, wait for its end or its last user's, leave nothing behind."""
    if os.fork():
        os._exit(0)  # a daemon is init's child, so no user has to reap it
    data_dir, start_fd, on_end, *options = sys.argv[1:]
    run = RunFolder(Path(data_dir))
    with run.users.open() as users, run.server.open("r+") as server:
        fcntl.flock(server, fcntl.LOCK_EX)
        server.truncate()
        try:
            process, port = start(Path(data_dir), options)
        except PostgresError as error:
            sys.exit(print(error))
        server.write(str(port))
        server.flush()
        report_ready(int(start_fd))
        supervise(process, users)
        server.truncate(0)
        if on_end == "remove":
            fcntl.flock(users, fcntl.LOCK_EX)  # the users of a crashed server may read its log
            shutil.rmtree(run.path.parent, ignore_errors=True)
        server.close()  # before `users`: who gets that one must not find this one held


def report_ready(start_fd: int) -> None:
    """Tell the user who started us, and let others join."""
    print("ready", flush=True)
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
    bin_dir = find_binaries()
    works, version = account.run(str(bin_dir / "postgres"), "--version")
    if not works:
        bin_dir = copy_binaries(bin_dir, run.path / "binaries")
        works, version = account.run(str(bin_dir / "postgres"), "--version")
    if not works:
        raise PostgresError(f"{bin_dir / 'postgres'} does not run here: {version.strip()}")
    stop_orphan(data_dir)
    create(data_dir, bin_dir, account)
    check_version(data_dir, bin_dir, version)
    account.take(data_dir)
    for _ in range(3):  # another process may take the port first
        port = free_port()
        command = [str(bin_dir / "postgres"), "-D", str(data_dir), "-p", str(port)]
        command += ["--listen_addresses=127.0.0.1", "--unix_socket_directories=", *options]
        with run.log.open("a") as log:
            process = account.popen(command, log)
        if is_ready(process, data_dir):
            return process, port
    raise PostgresError(f"PostgreSQL does not start in {data_dir}:\n{run.log_tail()}")


def create(data_dir: Path, bin_dir: Path, account: Account) -> None:
    """Make an empty data directory unless there is one; raises PostgresError.

    The work is done beside it, so that an interrupted initdb never looks like data.
    """
    if data_dir.exists():
        return
    draft = data_dir.with_name(f"{data_dir.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    account.take(draft)
    works, output = account.run(
        *(str(bin_dir / "initdb"), "-D", str(draft), "--username=postgres"),
        *("--auth=trust", "--encoding=UTF8", f"--locale={best_locale()}", "--no-sync"),
    )
    if not works:
        raise PostgresError(f"initdb failed in {draft}:\n{output.strip()}")
    draft.rename(data_dir)


def best_locale() -> str:
    """Return C.UTF-8, the order and the character classes of production, where it exists."""
    try:
        locale.setlocale(locale.LC_ALL, "C.UTF-8")
    except locale.Error:
        return "C"
    return "C.UTF-8"


def check_version(data_dir: Path, bin_dir: Path, version: str) -> None:
    """Raise PostgresError when the data is of another major version than the programs."""
    theirs = (data_dir / "PG_VERSION").read_text().strip()
    ours = re.search(r"\d+", version)
    if ours and ours[0] != theirs:
        raise PostgresError(
            f"The data in {data_dir} is PostgreSQL {theirs}'s, but {bin_dir} is"
            f" {ours[0]}: set PG_BIN_DIR to a PostgreSQL {theirs}, or delete the folder to begin"
            " with an empty database."
        )


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
        lines = pid_file(data_dir)
        if len(lines) > 7 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
            return True
        time.sleep(0.005)
    process.kill()
    process.wait()
    return False


def pid_file(data_dir: Path) -> list[str]:
    """Return the lines of postmaster.pid: the process id first, the state eighth."""
    try:
        return (data_dir / "postmaster.pid").read_text(errors="replace").splitlines()
    except OSError:
        return []


def stop_orphan(data_dir: Path) -> None:
    """End a server that lost its supervisor, and forget one whose id is now a stranger's.

    Where a process cannot die with its parent (not Linux) this is what ends an orphan.
    """
    lines = pid_file(data_dir)
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
            return os.path.samefile(f"/proc/{pid}/cwd", data_dir)
        except OSError:
            return False
    command = ["ps", "-o", "command=", "-p", str(pid)]
    return str(data_dir) in subprocess.run(command, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
