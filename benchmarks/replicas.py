"""python -m benchmarks.replicas: simulate up to 1,000 pods, and say which limit comes next.

Nothing is measured: the table follows from the assumptions below and from fixed seeds, and is the
same on every machine. A request passes its pod's processor, takes a connection of the pod's pool
and, where there is a PgBouncer, one of its server connections, makes its round trips to
PostgreSQL, and when it writes waits for a COMMIT. All of these are queues, first come first served.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from random import Random
from statistics import median, quantiles

PODS = (50, 100, 200, 500, 1000)
SEEDS = (1, 2, 3)
#: Seconds that are simulated; what happens in the first ones is not counted.
WARM_UP, END = 0.2, 0.5
#: The share of a queue's time from which it counts as a limit.
FULL = 0.95


@dataclass(frozen=True)
class Assumptions:
    """What a request needs, and what there is. Times are in seconds, of one at a time."""

    name: str
    bouncers: int = 0  # processes of PgBouncer; 0: the pods are connected to PostgreSQL
    writes: float = 0.2  # the share of requests that write

    rate: float = 140.0  # requests a second and pod: 70 % of a core
    work: float = 0.005  # of the pod's core, for each request
    pool: int = 10  # DATABASE_POOL_SIZE
    max_connections: int = 500  # without those in reserve
    default_pool_size: int = 30  # of each PgBouncer
    network: float = 0.0005  # there and back
    forwarding: float = 0.00002  # of a PgBouncer's one core, for each round trip
    statement: float = 0.0001  # of a core of PostgreSQL, for each round trip
    cores: int = 32  # of PostgreSQL
    flush: float = 0.001  # of WAL to disk and a replica, for all who wait for it together
    commit: float = 0.00002  # more of that for each COMMIT among them

    @property
    def reading(self) -> int:
        """Round trips of a request that reads; behind PgBouncer with BEGIN and COMMIT."""
        return 3 if self.bouncers else 2

    @property
    def writing(self) -> int:
        """Round trips of a request that writes, without COMMIT."""
        return 2


COMMITS = "COMMITs"
SCENARIOS = (
    Assumptions("no PgBouncer"),
    Assumptions("2 PgBouncers", bouncers=2),
    Assumptions("12 PgBouncers", bouncers=12),
    Assumptions("12 PgBouncers, half write", bouncers=12, writes=0.5),
)

#: Waits for something: whether the process may go on at once.
Wait = Callable[["Process"], bool]
Process = Generator[Wait, None, None]


class Clock:
    """The time, and which process goes on when."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Process]] = []
        self._order = count()

    def start(self, process: Process, delay: float = 0.0) -> None:
        """Let a process go on, `delay` seconds from now."""
        heappush(self._due, (self.now + delay, next(self._order), process))

    def sleep(self, seconds: float) -> Wait:
        """Wait so long."""

        def wait(process: Process) -> bool:
            self.start(process, seconds)
            return False

        return wait

    def run(self, until: float) -> None:
        """Let all go on whose time comes."""
        while self._due and self._due[0][0] <= until:
            self.now, _, process = heappop(self._due)
            for wait in process:
                if not wait(process):
                    break


class Places:
    """So many at a time; the others wait in their order."""

    def __init__(self, clock: Clock, size: int) -> None:
        self._clock, self._size, self._free = clock, size, size
        self._waiting: deque[Process] = deque()
        self._since = self._taken = 0.0

    def take(self, process: Process) -> bool:
        """Wait for a place."""
        if not self._free:
            self._waiting.append(process)
            return False
        self._count()
        self._free -= 1
        return True

    def leave(self) -> None:
        """Give a place back, to who waits the longest."""
        if self._waiting:
            self._clock.start(self._waiting.popleft())
            return
        self._count()
        self._free += 1

    def use(self, seconds: float) -> Iterator[Wait]:
        """Have a place for some time."""
        yield self.take
        yield self._clock.sleep(seconds)
        self.leave()

    def share(self) -> float:
        """Return how much of them was taken since the warm-up, from 0 to 1."""
        self._count()
        return self._taken / (self._size * (self._clock.now - WARM_UP))

    def _count(self) -> None:
        since = max(self._since, WARM_UP)
        if self._clock.now > since:
            self._taken += (self._size - self._free) * (self._clock.now - since)
        self._since = self._clock.now


class Log:
    """PostgreSQL's WAL: one flush at a time, for all that wait when it begins."""

    def __init__(self, clock: Clock, it: Assumptions) -> None:
        self._clock, self._it = clock, it
        self._waiting: list[Process] = []
        self._is_flushing = False
        self.commits, self.waited = 0, 0.0

    def commit(self, process: Process) -> bool:
        """Wait until the COMMIT is on disk."""
        self._waiting.append(process)
        if not self._is_flushing:
            self._is_flushing = True
            self._clock.start(self._flush())
        return False

    def _flush(self) -> Process:
        while self._waiting:
            together, self._waiting = self._waiting, []
            yield self._clock.sleep(self._it.flush + self._it.commit * len(together))
            self.commits += len(together) if self._clock.now > WARM_UP else 0
            for process in together:
                self._clock.start(process)
        self._is_flushing = False

    def share(self) -> float:
        """Return how much of the WAL's time its COMMITs took, beside what they share."""
        return self.commits * self._it.commit / (self._clock.now - WARM_UP)


class Pod:
    """One worker: a core, and a pool that opens connections when it needs them and keeps them."""

    def __init__(self, clock: Clock, it: Assumptions) -> None:
        self.core, self.pool = Places(clock, 1), Places(clock, it.pool)
        self.idle = 0


class Simulation:
    """Pods under load for END seconds."""

    def __init__(self, it: Assumptions, pods: int, seed: int) -> None:
        self._it, self._random, self._clock = it, Random(seed), Clock()
        clock = self._clock
        self.pods = [Pod(clock, it) for _ in range(pods)]
        self.cores, self.log = Places(clock, it.cores), Log(clock, it)
        self.bouncer_cores = [Places(clock, 1) for _ in range(it.bouncers)]
        self.servers = [Places(clock, it.default_pool_size) for _ in range(it.bouncers)]
        self.connections = 0
        self.refused = 0
        self.times: list[float] = []

    def run(self) -> None:
        """Simulate."""
        for pod in self.pods:
            self._clock.start(self._arrivals(pod), self._about(1 / self._it.rate))
        self._clock.run(END)

    def _about(self, mean: float) -> float:
        return self._random.expovariate(1 / mean)

    def _arrivals(self, pod: Pod) -> Process:
        while True:
            self._clock.start(self._request(pod))
            yield self._clock.sleep(self._about(1 / self._it.rate))

    def _request(self, pod: Pod) -> Process:
        began = self._clock.now
        yield from pod.core.use(self._about(self._it.work))
        yield pod.pool.take
        is_connected = self._connect(pod)
        if is_connected:
            yield from self._transaction()
            pod.idle += 1
        pod.pool.leave()
        if self._clock.now < WARM_UP:
            return
        if is_connected:
            self.times.append(self._clock.now - began)
        else:
            self.refused += 1

    def _connect(self, pod: Pod) -> bool:
        """Take an idle connection of the pod, or open one; PgBouncer has enough for all."""
        if pod.idle:
            pod.idle -= 1
        elif not self._it.bouncers and self.connections >= self._it.max_connections:
            return False
        else:
            self.connections += 1
        return True

    def _transaction(self) -> Iterator[Wait]:
        is_write = self._random.random() < self._it.writes
        bouncer = self._random.randrange(self._it.bouncers) if self._it.bouncers else None
        if bouncer is not None:
            yield self.servers[bouncer].take
        for _ in range(self._it.writing if is_write else self._it.reading):
            yield from self._round_trip(bouncer)
        if is_write:
            yield from self._round_trip(bouncer)
            asked = self._clock.now
            yield self.log.commit
            self.log.waited += self._clock.now - asked if asked > WARM_UP else 0
        if bouncer is not None:
            self.servers[bouncer].leave()

    def _round_trip(self, bouncer: int | None) -> Iterator[Wait]:
        yield self._clock.sleep(self._it.network)
        if bouncer is not None:
            yield from self.bouncer_cores[bouncer].use(self._it.forwarding)
        yield from self.cores.use(self._about(self._it.statement))

    def limit(self) -> str:
        """Return what is used up, empty if nothing is."""
        if self.refused:
            return "connections of PostgreSQL"
        if self.log.share() >= FULL:
            return COMMITS
        if max((it.share() for it in self.bouncer_cores), default=0) >= FULL:
            return "processors of PgBouncer"
        if self.cores.share() >= FULL:
            return "processors of PostgreSQL"
        if max((it.share() for it in self.servers), default=0) >= FULL:
            places = self._it.bouncers * self._it.default_pool_size * (END - WARM_UP)
            return COMMITS if self.log.waited > places / 2 else "server connections of PgBouncer"
        return ""


def row(it: Assumptions, pods: int) -> str:
    """Return a line of the table: medians of the seeds."""
    runs = [Simulation(it, pods, seed) for seed in SEEDS]
    for run in runs:
        run.run()
    seconds = END - WARM_UP
    answered = median(len(run.times) for run in runs) / seconds
    refused = median(run.refused / (run.refused + len(run.times)) for run in runs)
    slowest = median(quantiles(run.times, n=100)[-1] for run in runs)
    commits = median(run.log.commits for run in runs) / seconds
    connections = (
        f"{it.bouncers * it.default_pool_size}"
        if it.bouncers
        else f"{median(run.connections for run in runs):,}"
    )
    limits = sorted({run.limit() for run in runs})
    return (
        f"| {it.name} | {pods:,} | {answered:,.0f} of {pods * it.rate:,.0f} | {refused:.1%} "
        f"| {slowest * 1000:.0f} | {connections} | {commits:,.0f} | {' or '.join(limits)} |"
    )


def main() -> None:
    """Print the table."""
    print(
        "| | pods | requests a second, of those that come | refused | p99, ms "
        "| connections of PostgreSQL | COMMITs a second | limit |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for it in SCENARIOS:
        for pods in PODS:
            print(row(it, pods), flush=True)


if __name__ == "__main__":
    main()
