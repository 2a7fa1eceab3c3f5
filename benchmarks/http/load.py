"""Load on a server: wrk, or a small generator of our own where only the harness is tried."""

import asyncio
import itertools
import json
import math
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

from ..errors import BenchmarkError
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
        *,
        refusals: bool = False,
    ) -> Load:
        """Return what came of it; a longer one when nothing was answered in so short a time.

        Raises BenchmarkError when a connection failed or, without `refusals`, an answer was not a
        success.
        """
        run = _wrk if self.with_wrk else _own
        load = run(port, work, headers, connections, seconds)
        if not (load.requests or load.sockets) and seconds < 2:
            return self.run(port, work, headers, connections, seconds * 4, refusals=refusals)
        if (load.statuses and not refusals) or load.sockets or not load.requests:
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


@dataclass
class _Seen:
    """Latencies in seconds, and how many answers and connections failed."""

    latencies: list[float] = field(default_factory=list)
    statuses: int = 0
    sockets: int = 0


def _own(
    port: int,
    work: Sequence[Request],
    headers: Mapping[str, str],
    connections: int,
    seconds: float,
) -> Load:
    """In asyncio: too slow to measure a fast server, enough to try the harness."""
    messages = itertools.cycle([_message(request, headers) for request in work])
    seen = _Seen()
    started = time.perf_counter()

    async def everything() -> None:
        end = started + seconds
        await asyncio.gather(*(_client(port, messages, end, seen) for _ in range(connections)))

    asyncio.run(everything())
    took = time.perf_counter() - started
    latencies = sorted(seen.latencies)
    at = [latencies[int(len(latencies) * part)] * 1e6 if latencies else 0 for part in (0.5, 0.99)]
    return Load(len(latencies), took, at[0], at[1], seen.statuses, seen.sockets)


def _message(request: Request, headers: Mapping[str, str]) -> bytes:
    """Return the request as it is sent."""
    body = request.body.encode()
    lines = [f"{request.method} {request.path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode() + body


async def _client(port: int, messages: Iterator[bytes], end: float, seen: _Seen) -> None:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        seen.sockets += 1
        return
    try:
        while (sent := time.perf_counter()) < end:
            writer.write(next(messages))
            status = await _status(reader)
            seen.latencies.append(time.perf_counter() - sent)
            seen.statuses += status >= 300
    except (OSError, EOFError):
        seen.sockets += 1
    finally:
        writer.close()


async def _status(reader: asyncio.StreamReader) -> int:
    """Read one response to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    lengths = [line for line in lines if line.lower().startswith("content-length:")]
    await reader.readexactly(int(lengths[0].partition(":")[2]))
    return int(first.split(" ")[1])
