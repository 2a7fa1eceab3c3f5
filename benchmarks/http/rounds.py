"""Rounds: every system in turn, again and again, with the same work."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import BenchmarkError
from ..machine import server_and_load_core
from ..server import Server, stopped
from .equality import check
from .load import Generator, Load
from .systems import System
from .work import ITEMS, Request, requests


@dataclass(frozen=True)
class Measured:
    """One load on one system."""

    load: Load
    cpu: float

    @property
    def cost(self) -> float:
        """Microseconds of the server's CPU for a request."""
        return self.cpu / self.load.requests * 1e6

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.load.requests / self.load.seconds


@dataclass(frozen=True)
class Plan:
    """What is measured: each case at each number of connections, in `rounds` rounds.

    A load takes `seconds`, and `warm_up` before the first round; it repeats `sequence` requests.
    """

    cases: Sequence[str]
    connections: Sequence[int]
    rounds: int
    seconds: float
    rows: int
    pool: int
    warm_up: float = 0.5
    sequence: int = 20_000
    pinned: bool = True


#: By case and number of connections, then by system: one for each round.
Measurements = dict[tuple[str, int], dict[str, list[Measured]]]


@contextmanager
def served(
    systems: Sequence[System], plan: Plan, url: str, logs: Path
) -> Iterator[dict[str, Server]]:
    """Yield a server for each system, all of them ready."""
    core = server_and_load_core()[0] if plan.pinned else None
    with stopped({}) as servers:
        for system in systems:
            variables = {"DATABASE_URL": url, "DATABASE_POOL_SIZE": str(plan.pool)}
            servers[system.name] = Server(
                system.app,
                system.folder,
                {**variables, **system.environment},
                logs / f"{system.name}-{plan.pool}.log",
                core,
            )
        for system in systems:
            servers[system.name].wait_until_ready(f"{ITEMS}/1", system.headers)
        yield servers


@dataclass(frozen=True)
class Bench:
    """Systems and their servers, and what measures them."""

    systems: Sequence[System]
    servers: Mapping[str, Server]
    plan: Plan
    generator: Generator
    #: Takes the table `item` back to its beginning; its keys as well when told so.
    reset: Callable[[bool], None]

    def measure(self) -> Measurements:
        """Check that the answers are equal, then measure; raises BenchmarkError."""
        found: Measurements = {}
        for case in self.plan.cases:
            systems = [system for system in self.systems if case in system.cases]
            headers = {system.name: system.headers for system in systems}
            ports = {name: self.servers[name].port for name in headers}
            equal = check(case, self.plan.rows, ports, headers, lambda: self.reset(True))
            print(f"  {case}: {equal} answers of {len(ports)} systems are equal", flush=True)
            for connections in self.plan.connections:
                found[case, connections] = self._rounds(case, connections, systems)
        return found

    def _rounds(
        self, case: str, connections: int, systems: Sequence[System]
    ) -> dict[str, list[Measured]]:
        found: dict[str, list[Measured]] = {system.name: [] for system in systems}
        plan = self.plan
        for number in range(0 if plan.warm_up else 1, plan.rounds + 1):
            work = requests(case, plan.sequence, plan.rows, seed=number)
            for system in systems:
                if case == "post":
                    self.reset(False)
                seconds = plan.seconds if number else plan.warm_up
                measured = self.load(system, work, connections, seconds)
                if number:  # round 0 warms up
                    found[system.name].append(measured)
        return found

    def load(
        self, system: System, work: Sequence[Request], connections: int, seconds: float
    ) -> Measured:
        """Return what one load cost; raises BenchmarkError with the end of the server's log."""
        server = self.servers[system.name]
        server.forget_log()
        headers = {"Content-Type": "application/json", **system.headers}
        before = server.cpu()
        try:
            load = self.generator.run(server.port, work, headers, connections, seconds)
        except BenchmarkError as error:
            raise BenchmarkError(f"{system.name}: {error}\n{server.log_tail()}") from None
        measured = Measured(load, server.cpu() - before)
        server.wait_until_idle()
        return measured
