"""An embedded PostgreSQL for `make run` and the tests: `cluster` and `temporary_cluster`."""

import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# A test database is thrown away, so it need not survive a power cut.
TEMPORARY_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
}


class PostgresError(RuntimeError):
    """PostgreSQL cannot be started; the message says why and what to do."""


@dataclass(frozen=True)
class Cluster:
    """A running server: loopback TCP only, superuser `postgres`, no password."""

    data_dir: Path
    port: int

    def url(self, database: str, role: str = "postgres") -> str:
        """Return the URL of `database` for `role`; neither needs to exist."""
        return f"postgresql://{role}@127.0.0.1:{self.port}/{quote(database, safe='')}"


class RunFolder:
    """The folder beside a data directory through which the users of a server agree with it.

    `start` is held while somebody joins, starts or leaves. `users` is shared by every user; the
    server's supervisor (supervisor.py) waits until it can have it alone, which is its order
    to stop. `server` is held by the supervisor for its whole life and contains the port while the
    server runs. The kernel releases the locks of a killed process, so no user has to clean up.
    """

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir.with_name(f"{data_dir.name}.run")
        names = ("start", "users", "server", "log")
        self.start, self.users, self.server, self.log = (self.path / name for name in names)

    def create(self) -> None:
        """Create the folder and its files; raises PostgresError when they cannot be written."""
        try:
            _make_folder(self.path)
            for file in (self.start, self.users, self.server, self.log):
                if not file.exists():
                    file.touch()
                    _give_to_owner_of_folder(file)
                file.open("a").close()
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}"
            raise PostgresError(f"Cannot write {reason}. Is it another user's?") from error

    def port(self) -> int | None:
        """Return the port of the server, None when there is none; ask while holding `start`."""
        with self.server.open() as server:
            lives = not try_lock(server, fcntl.LOCK_SH)
            return int(server.read() or 0) or None if lives else None

    def wait_for_end(self) -> None:
        """Return when no server runs."""
        with self.server.open() as server:
            fcntl.flock(server, fcntl.LOCK_SH)

    def log_tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-8:])


@contextmanager
def cluster(
    data_dir: Path,
    *,
    settings: Mapping[str, str] = {},
    announce: Callable[[], None] = lambda: None,
) -> Iterator[Cluster]:
    """Yield the server of `data_dir`, created and started when needed.

    Processes share one server; it stops with its last user, however that user ends. `settings`
    (postgresql.conf names) apply when this call starts it; `announce` is called before it does.
    Raises PostgresError.
    """
    with _use(data_dir.absolute(), settings, "keep", announce) as port:
        yield Cluster(data_dir.absolute(), port)


@contextmanager
def temporary_cluster() -> Iterator[Cluster]:
    """Yield a fast, empty server of one's own; its folder is removed with it."""
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # root runs the server as another user, who has to pass through
        with _use(Path(folder, "data"), TEMPORARY_SETTINGS, "remove") as port:
            yield Cluster(Path(folder, "data"), port)


def discard(data_dir: Path) -> bool:
    """Delete the data; return whether there was any. Raises PostgresError while it is in use."""
    if not data_dir.exists():
        return False
    run = RunFolder(data_dir.absolute())
    run.create()
    with run.start.open() as start, run.users.open() as users:
        fcntl.flock(start, fcntl.LOCK_EX)
        if run.port() is not None or not try_lock(users, fcntl.LOCK_EX):
            raise PostgresError(f"The database in {data_dir} is in use: stop `make run` first.")
        try:
            shutil.rmtree(data_dir)
        except OSError as error:
            raise PostgresError(f"Cannot delete {error.filename}: {error.strerror}.") from error
    return True


def try_lock(file: IO[str], kind: int) -> bool:
    """Lock `file` as flock(2) does, without waiting; return whether it was possible."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _use(
    data_dir: Path,
    settings: Mapping[str, str],
    on_end: str,
    announce: Callable[[], None] = lambda: None,
) -> Iterator[int]:
    """Yield the port of the server, and be one of its users meanwhile."""
    run = RunFolder(data_dir)
    run.create()
    with run.users.open() as users:
        with run.start.open() as start:
            fcntl.flock(start, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_SH)
            if (port := run.port()) is None:
                announce()
                options = [f"--{name}={value}" for name, value in settings.items()]
                port = _start_supervisor(run, start.fileno(), [str(data_dir), on_end, *options])
        try:
            yield port
        finally:
            with suppress(FileNotFoundError):  # somebody deleted the folder meanwhile
                _leave(run, users, port)


def _leave(run: RunFolder, users: IO[str], port: int) -> None:
    """Stop being a user; the last one waits until the server has ended."""
    with run.start.open() as start, run.server.open() as server:
        fcntl.flock(start, fcntl.LOCK_EX)
        if run.port() != port:
            print(f"PostgreSQL ended while it was in use:\n{run.log_tail()}", file=sys.stderr)
        last = try_lock(users, fcntl.LOCK_EX)
        users.close()
        if last:
            fcntl.flock(server, fcntl.LOCK_SH)


def _start_supervisor(run: RunFolder, start_fd: int, arguments: list[str]) -> int:
    """Start it as a daemon that inherits the lock on `start`; return the port of its server."""
    run.log.write_text("")
    with run.log.open("a") as log:
        supervisor = subprocess.run(
            [sys.executable, "-m", "dalkit.dev.supervisor", str(start_fd), *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the users
            pass_fds=[start_fd],
            text=True,
        )
    answer = supervisor.stdout.strip()
    if not answer.isdecimal():
        raise PostgresError(answer or f"PostgreSQL's supervisor failed:\n{run.log_tail()}")
    return int(answer)


def _make_folder(path: Path) -> None:
    if not path.exists():
        _make_folder(path.parent)
        path.mkdir(exist_ok=True)
        _give_to_owner_of_folder(path)


def _give_to_owner_of_folder(path: Path) -> None:
    """As root in somebody's folder, leave nothing there that they could not use themselves."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def serve(data_dir: Path) -> None:
    """Print the URL of the server of `data_dir` and keep it running until a signal to stop."""
    try:
        with cluster(data_dir) as it:
            signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
            print(it.url("postgres"), flush=True)
            signal.sigwait(STOP_SIGNALS)
    except PostgresError as error:
        sys.exit(str(error))


def end_with(parent: int, number: int = signal.SIGTERM) -> None:
    """Get a signal when the process that started this one is gone, however it ended (on Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it died before prctl
        os._exit(1)
