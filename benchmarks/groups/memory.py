"""The service's memory over many requests."""

from dalkit.dev.issuer import issuer

from ..http.comparison import ROWS
from ..http.load import Generator, choose
from ..http.rounds import Plan, served
from ..http.systems import System, generated
from ..http.work import CASES, TITLES, requests
from ..options import Options, select
from ..report import Plot, Result, Table
from ..server import Server
from ..stage import Stage
from ..statistics import short

STEPS = 10
NOTE = """
One server, with a token to verify, 32 connections; {cases} in turn. The first step makes the
process warm: plans are cached, the pool is full. Rows stay. `make bench ARGS="memory --cases
get,page,post --requests 1000000"` is the same over a million requests.
"""
#: How much a process that keeps nothing may grow after the first step.
FLAT = 1.05


def run(options: Options, it: Stage) -> Result:
    """Measure the resident memory over as many requests as the options say."""
    cases = select(list(CASES), options.cases, "case")
    plan, total = Plan(cases, [32], 1, 2.0, ROWS, pool=10), options.requests
    if options.short:
        plan, total = Plan(cases, [4], 1, 0.05, 1000, pool=2), 100
    with issuer() as tokens:
        systems = generated(it.service, tokens)
        ours = next(system for system in systems if system.name == "ours_auth")
        with served([ours], plan, it.service_database("memory", plan.rows), it.folder) as servers:
            sizes = _sizes(servers[ours.name], ours, plan, choose(options.short), total)
    first = sizes[0][1]
    table = Table(
        "Resident memory",
        ["requests", "MB", "by the first"],
        [[f"{number:,}", short(size), short(size / first)] for number, size in sizes],
    )
    names = [f"{number // 1000}k" for number, _ in sizes]
    plot = Plot("Resident memory", "MB", names, {"ours": [size for _, size in sizes]})
    grown = sizes[-1][1] / first
    verdict = "Flat" if grown <= FLAT else "**Not flat**"
    found = f"{verdict}: {short(grown)} times the first step at the end."
    asked = ", ".join(TITLES[case] for case in cases)
    return Result("memory", "Memory", [NOTE.format(cases=asked), found], [table], plot)


def _sizes(
    server: Server, ours: System, plan: Plan, generator: Generator, total: int
) -> list[tuple[int, float]]:
    """Return the memory in MB after each tenth of the requests."""
    sizes: list[tuple[int, float]] = []
    done = 0
    while done < total:
        goal = done + total // STEPS
        while done < goal:
            done += _turn(server, ours, plan, generator, seed=done)
        sizes.append((done, server.resident() / 2**20))
        print(f"  {done:,} requests: {short(sizes[-1][1])} MB", flush=True)
    return sizes


def _turn(server: Server, ours: System, plan: Plan, generator: Generator, seed: int) -> int:
    """Send every kind of request for a while; return how many."""
    headers = {"Content-Type": "application/json", **ours.headers}
    server.forget_log()
    sent = 0
    for case in plan.cases:
        work = requests(case, 2000, plan.rows, seed)
        load = generator.run(server.port, work, headers, plan.connections[0], plan.seconds)
        sent += load.requests
    return sent
