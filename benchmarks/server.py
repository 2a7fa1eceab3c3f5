"""A server process: started, waited for, watched and ended."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .errors import BenchmarkError

#: Seconds for all servers of a group to answer; they may start on one core.
STARTUP = 60.0
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """One process that serves on `port`; `cpu` is what it has used so far."""

    def __init__(
        self,
        app: str,
        folder: Path,
        environment: Mapping[str, str],
        log: Path,
        core: int | None,
    ) -> None:
        self.app, self.log = app, log
        with socket.create_server(("127.0.0.1", 0)) as listening, log.open("ab") as output:
            self.port: int = listening.getsockname()[1]
            command = [sys.executable, "-m", "benchmarks.serve", app, str(listening.fileno())]
            self.process = subprocess.Popen(
                command + ([] if core is None else [str(core)]),
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[listening.fileno()],
                start_new_session=True,  # Ctrl-C is for the harness
            )

    def wait_until_ready(self, path: str, headers: Mapping[str, str]) -> None:
        """Return when `path` is answered with 200; raises BenchmarkError when it never is."""
        end = time.monotonic() + STARTUP
        answered: object = "nothing"
        while time.monotonic() < end and self.process.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", path, headers=dict(headers))
                answered = connection.getresponse().status
            except OSError as error:
                answered = error
            finally:
                connection.close()
            if answered == 200:
                return
            time.sleep(0.05)
        raise BenchmarkError(f"{self.app} does not answer ({answered}):\n{self.log_tail()}")

    def cpu(self) -> float:
        """Return the seconds of CPU that the process has used, user and system."""
        return cpu_seconds(self.process.pid)

    def wait_until_idle(self, most: float = 2.0) -> None:
        """Return when it uses no CPU, after `most` seconds at most: a load ends amid requests."""
        end, before = time.monotonic() + most, -1.0
        while (used := self.cpu()) != before and time.monotonic() < end:
            before = used
            time.sleep(0.05)

    def resident(self) -> int:
        """Return the resident memory in bytes."""
        return resident_bytes(self.process.pid)

    def forget_log(self) -> None:
        """Empty the log: at INFO every request leaves a line."""
        os.truncate(self.log, 0)

    def log_tail(self, length: int = 3000) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-length:]

    def stop(self) -> None:
        """End the process."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def stopped(servers: dict[str, Server]) -> Iterator[dict[str, Server]]:
    """End every server that was added meanwhile, however the block is left."""
    try:
        yield servers
    finally:
        for server in servers.values():
            server.stop()


def cpu_seconds(process: int) -> float:
    """Return user and system time of a process, in steps of a hundredth."""
    if sys.platform == "linux":
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
    clock = subprocess.check_output(["ps", "-o", "time=", "-p", str(process)], text=True)
    parts = clock.strip().replace("-", ":").split(":")
    scales = (1, 60, 3600, 86400)
    return sum(float(p) * scale for p, scale in zip(reversed(parts), scales, strict=False))


def resident_bytes(process: int) -> int:
    """Return the resident memory of a process."""
    if sys.platform == "linux":
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    kilobytes = subprocess.check_output(["ps", "-o", "rss=", "-p", str(process)], text=True)
    return int(kilobytes) * 1024
