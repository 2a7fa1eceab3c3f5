"""From the command that serves to the first answer, and the memory of what then serves."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dalkit.dev.issuer import Issuer, issuer

from ..errors import BenchmarkError
from ..machine import on_server_core
from ..options import Options
from ..report import Plot, Result, Table
from ..server import cpu_seconds, resident_bytes
from ..stage import ROOT, Stage
from ..statistics import Spread, ratios

#: Seconds that a server may take to give its first answer.
PATIENCE = 60.0
#: Seconds between two attempts to connect.
PAUSE = 0.002
PATH = "/v1/books"
ORM = "FastAPI, ORM async session"
REQUESTS = 1000
NOTE = f"""
From the start of the process to the first 200 of `GET {PATH}` on a migrated database: ours with
`my-service serve`, the ORM's application (the same routes, no tokens and no limits) with `uvicorn`,
each time a fresh process. Memory is that of the process after {REQUESTS:,} such requests, its share
of what it shares (PSS).
"""


@dataclass(frozen=True)
class Command:
    """What serves, without `--port`, and what it is asked with."""

    title: str
    arguments: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """One start: seconds to the first answer, of the clock and of CPU, and bytes in the end."""

    wall: float
    cpu: float
    memory: int


def run(options: Options, it: Stage) -> Result:
    """Measure starts in turns."""
    rounds, requests = (1, 5) if options.short else (max(7, options.rounds), REQUESTS)
    url = it.empty_database("startup")
    it.service.migrate(url)
    found: dict[str, list[Start]] = {}
    with issuer() as tokens:
        commands = _commands(it, tokens)
        for command in commands:
            _start(command, url, 1, it.folder / "startup.log")  # writes what Python compiles
        for _ in range(rounds):
            for command in commands:
                start = _start(command, url, requests, it.folder / "startup.log")
                found.setdefault(command.title, []).append(start)
    return Result("startup", "Startup", [NOTE], [_table(found)], _plot(found))


def _commands(it: Stage, tokens: Issuer) -> list[Command]:
    serve = [sys.executable, "-m", "my_service.cli", "serve"]
    variables = {
        **it.service.variables,
        "AUTH0_DEV_ISSUER": tokens.url,
        "AUTH0_AUDIENCE": tokens.audience,
    }
    headers = {"Authorization": f"Bearer {tokens.token(('read:books',))}"}
    ours = Command("ours, with a token", serve, it.service.folder, variables, headers)
    plain = it.plain_service
    without = replace(
        ours,
        title="ours, without Auth0 and Slack",
        folder=plain.folder,
        environment=plain.variables,
        headers={},
    )
    uvicorn = [sys.executable, "-m", "uvicorn", "benchmarks.systems.service_orm:app"]
    quiet = ["--no-access-log", "--log-level", "warning"]
    orm = Command(ORM, [*uvicorn, *quiet], ROOT, {"PYTHONPATH": str(ROOT)})
    return [orm, ours, without]


def _start(command: Command, url: str, requests: int, log: Path) -> Start:
    """Start the command and end it; raises BenchmarkError when it does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with on_server_core(), log.open("wb") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [*command.arguments, "--port", str(port)],
            cwd=command.folder,
            env={**os.environ, **command.environment, "DATABASE_URL": url},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        while not _answers(port, command.headers):
            if process.poll() is not None or time.perf_counter() - begun > PATIENCE:
                text = log.read_text(errors="replace")[-3000:]
                raise BenchmarkError(f"{command.title} does not answer:\n{text}")
            time.sleep(PAUSE)
        wall, cpu = time.perf_counter() - begun, cpu_seconds(process.pid)
        _ask(port, command.headers, requests)
        return Start(wall, cpu, _share(process.pid))
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int, headers: Mapping[str, str]) -> bool:
    try:
        _ask(port, headers, 1)
    except ConnectionRefusedError:
        return False
    return True


def _ask(port: int, headers: Mapping[str, str], requests: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        for _ in range(requests):
            connection.request("GET", PATH, headers=dict(headers))
            response = connection.getresponse()
            body = response.read()
            if response.status != http.client.OK:
                raise BenchmarkError(f"GET {PATH} is answered with {response.status}: {body!r}")
    finally:
        connection.close()


def _share(process: int) -> int:
    """Return the proportional share of the memory in bytes; the resident memory elsewhere."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return resident_bytes(process)
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _table(found: Mapping[str, Sequence[Start]]) -> Table:
    rows = []
    theirs = found[ORM]
    for title, starts in found.items():
        by = [
            str(ratios([_of(one, what) for one in starts], [_of(one, what) for one in theirs]))
            for what in ("wall", "cpu", "memory")
        ]
        wall = Spread.of([one.wall for one in starts])
        rows.append([title, *by, str(wall), f"{_megabytes(starts):.0f}"])
    columns = ["system", "time by the ORM's", "CPU by the ORM's", "memory by the ORM's"]
    return Table("Start and memory", [*columns, "seconds", "MB"], rows)


def _of(start: Start, what: str) -> float:
    return float(getattr(start, what))


def _megabytes(starts: Sequence[Start]) -> float:
    return Spread.of([one.memory for one in starts]).median / 2**20


def _plot(found: Mapping[str, Sequence[Start]]) -> Plot:
    medians = {
        title: [Spread.of([s.wall for s in starts]).median] for title, starts in found.items()
    }
    return Plot("To the first answer", "seconds", ["serve"], medians)
