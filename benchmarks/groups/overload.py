"""More clients than connections of the pool, and statements that take long."""

from dataclasses import replace

from dalkit.dev.issuer import issuer

from ..http.load import Load, choose
from ..http.rounds import Plan, served
from ..http.systems import System, generated, others
from ..http.work import Request
from ..options import Options
from ..report import Plot, Result, Table
from ..stage import Stage
from ..statistics import Spread, short

CLIENTS, POOL, STATEMENT = 256, 4, 0.05
#: Seconds in which ours still lets everybody wait for DATABASE_POOL_TIMEOUT.
FILLING = 4.0
#: What 99 of 100 answers have to come within, in seconds.
BOUND = 1.0
NOTE = """
{clients} clients that ask again at once, a pool of {pool} connections, and a statement of
{ms:.0f} ms: all wait for what {pool} can do. Measured after {filling:.0f} s of it. Refused is 503
with Retry-After.
"""


def run(options: Options, it: Stage) -> Result:
    """Measure ours beside a pool that lets everybody wait."""
    clients, filling = (8, 0.0) if options.short else (CLIENTS, FILLING)
    rounds, seconds = (1, 0.2) if options.short else (min(3, options.rounds), 5.0)
    plan = Plan([], [], rounds, seconds, 10, POOL, pinned=not options.short)
    found: dict[str, list[Load]] = {}
    generator, work = choose(options.short), [Request("GET", "/v1/slow")]
    with issuer() as tokens:
        systems = _systems([*others(), *generated(it.service, tokens)])
        with served(
            systems, plan, it.service_database("overload", plan.rows), it.folder
        ) as servers:
            for system in systems:
                port = servers[system.name].port
                found[system.title] = []
                for _ in range(rounds):
                    if filling:
                        generator.run(port, work, {}, clients, filling, refusals=True)
                    load = generator.run(port, work, {}, clients, seconds, refusals=True)
                    found[system.title].append(load)
    bounded = Spread.of([load.p99 / 1e6 for load in found["ours"]]).median <= BOUND
    verdict = f"p99 of ours is {'' if bounded else '**not** '}below {BOUND:g} s."
    about = NOTE.format(clients=clients, pool=POOL, ms=STATEMENT * 1000, filling=filling)
    table = Table(
        f"{clients} clients, {POOL} connections",
        ["system", "p99 s", "p50 s", "answered / s", "refused / s"],
        [[title, *_line(loads)] for title, loads in found.items()],
    )
    p99 = {
        title: [Spread.of([it.p99 / 1e6 for it in loads]).median] for title, loads in found.items()
    }
    plot = Plot("p99 under overload", "seconds", [f"{clients} clients"], p99)
    return Result("overload", "Overload", [about, verdict], [table], plot)


def _systems(everything: list[System]) -> list[System]:
    by_name = {system.name: system for system in everything}
    ours = replace(by_name["ours"], app="benchmarks.systems.growth:app")
    return [by_name["fastapi_asyncpg"], ours]


def _line(loads: list[Load]) -> list[str]:
    return [
        str(Spread.of([load.p99 / 1e6 for load in loads])),
        short(Spread.of([load.p50 / 1e6 for load in loads]).median),
        short(Spread.of([(it.requests - it.statuses) / it.seconds for it in loads]).median),
        short(Spread.of([it.statuses / it.seconds for it in loads]).median),
    ]
