"""Load on a server: wrk, or a small generator of our own where only the harness is tried."""

import json
import math
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from ..errors import BenchmarkError
from .own_load import own_load
from .work import Request

SCRIPT = Path(__file__).with_name("wrk.lua")
NO_WRK = "wrk is not installed: install it with `apt-get install wrk` or `brew install wrk`."


@dataclass(frozen=True)
class Load:
    """What a load saw; latencies in microseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    statuses: int
    sockets: int


@dataclass(frozen=True)
class Generator:
    """Sends requests for a while and returns what came of it."""

    with_wrk: bool

    def run(
        self,
        port: int,
        work: Sequence[Request],
        headers: Mapping[str, str],
        connections: int,
        seconds: float,
    ) -> Load:
        """Return what came of it; a longer one when nothing was answered in so short a time.

        Raises BenchmarkError when an answer was not a success or a connection failed.
        """
        run = _wrk if self.with_wrk else _own
        load = run(port, work, headers, connections, seconds)
        if not (load.requests or load.sockets) and seconds < 2:
            return self.run(port, work, headers, connections, seconds * 4)
        if load.statuses or load.sockets or not load.requests:
            raise BenchmarkError(
                f"{load.requests} answers to {work[0].method} {work[0].path}, of which "
                f"{load.statuses} were errors; {load.sockets} connections failed."
            )
        return load


def choose(short: bool) -> Generator:
    """Return wrk if there is one; raises BenchmarkError when it is missing and speeds matter."""
    found = shutil.which("wrk") is not None
    if not found and not short:
        raise BenchmarkError(NO_WRK)
    return Generator(found)


def _wrk(
    port: int,
    work: Sequence[Request],
    headers: Mapping[str, str],
    connections: int,
    seconds: float,
) -> Load:
    options = [f"-H{name}: {value}" for name, value in headers.items()]
    limits = ["-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s", "--timeout=10s", "--latency"]
    with NamedTemporaryFile("w", suffix=".tsv") as file:
        file.writelines("\t".join(request) + "\n" for request in work)
        file.flush()
        url = f"http://127.0.0.1:{port}"
        command = ["wrk", *limits, *options, f"-s{SCRIPT}", url, "--", file.name]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as wrk:
            try:
                if seconds != math.ceil(seconds):  # wrk counts in seconds, but can be interrupted
                    time.sleep(seconds)
                    wrk.send_signal(signal.SIGINT)
                output = wrk.communicate(timeout=seconds + 20)[0]
            finally:
                wrk.kill()
    if wrk.returncode:
        raise BenchmarkError(f"wrk failed:\n{output}")
    return Load(**json.loads(output.splitlines()[-1]))


def _own(
    port: int,
    work: Sequence[Request],
    headers: Mapping[str, str],
    connections: int,
    seconds: float,
) -> Load:
    seen = own_load(port, work, headers, connections, seconds)
    latencies = sorted(seen.latencies)
    at = [latencies[int(len(latencies) * part)] * 1e6 if latencies else 0 for part in (0.5, 0.99)]
    return Load(len(latencies), seen.seconds, at[0], at[1], seen.statuses, seen.sockets)
