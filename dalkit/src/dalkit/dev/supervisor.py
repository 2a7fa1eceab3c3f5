"""The supervisor of one PostgreSQL server: its parent, which ends with its last user.

Run by postgres.py with the arguments START_FD DATA_DIR keep|remove [--OPTION ...].
Prints the port, or what went wrong. `remove` ends with the removal of the folder of DATA_DIR.
"""

import fcntl
import locale
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from .postgres import PostgresError, RunFolder
from .programs import Account, choose_account, usable_binaries

START_ATTEMPTS = 3  # another process may take the port first
START_TIMEOUT = 60.0  # seconds, enough for a crash recovery
STOP_TIMEOUT = 10.0  # seconds


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
        print(port, flush=True)  # to the user who started us
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        os.close(int(start_fd))  # others may join
        supervise(process, users)
        server.truncate(0)
        if on_end == "remove":
            fcntl.flock(users, fcntl.LOCK_EX)  # the users of a crashed server may read its log
            shutil.rmtree(run.path.parent, ignore_errors=True)
        # The kernel lets go of `server` and then of `users`, in the order of their descriptors:
        # who waits for either finds nothing running, not even an interpreter that tidies up.
        os._exit(0)


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
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


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


def prepare_data(data_dir: Path, bin_dir: Path, major: str, account: Account) -> None:
    """Make `data_dir` one that `account` can serve with the programs in `bin_dir`."""
    if not data_dir.exists():
        draft = data_dir.with_name(f"{data_dir.name}.new")  # an interrupted one is no data
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
    if (theirs := (data_dir / "PG_VERSION").read_text().strip()) != major:
        raise PostgresError(
            f"The data in {data_dir} was written by PostgreSQL {theirs}, but {bin_dir} is"
            f" PostgreSQL {major}: set PG_BIN_DIR to a PostgreSQL {theirs}, or delete the folder"
            " to begin with an empty database."
        )
    account.take(data_dir)


def best_locale() -> str:
    """Return C.UTF-8, the order and the character classes of production, where it exists."""
    with suppress(locale.Error):
        return locale.setlocale(locale.LC_ALL, "C.UTF-8")
    return "C"


def read_pid_file(data_dir: Path) -> list[str]:
    """Return the lines of postmaster.pid: the process id first, the state eighth."""
    try:
        return (data_dir / "postmaster.pid").read_text(errors="replace").splitlines()
    except OSError:
        return []


def stop_orphan(data_dir: Path) -> None:
    """End a server that outlived its supervisor (not on Linux); forget one that left its id."""
    first = (*read_pid_file(data_dir), "")[0]
    if not first.isdecimal() or not is_alive(pid := int(first)):
        return
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
    with suppress(PermissionError):  # it lives, and is another user's
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True


def serves(pid: int, data_dir: Path) -> bool:
    """Return whether the process is a server of `data_dir`, which is its working directory."""
    if not Path("/proc/self").exists():  # not Linux
        command = ["ps", "-o", "command=", "-p", str(pid)]
        listed = subprocess.run(command, check=False, capture_output=True, text=True).stdout
        return f"postgres -D {data_dir} " in listed
    process = Path(f"/proc/{pid}")
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        try:
            return (process / "cwd").samefile(data_dir)
        except PermissionError:  # in a container even root may not look at others' processes
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            return arguments[1:3] == [b"-D", os.fsencode(data_dir)]
    return False


if __name__ == "__main__":
    main()
