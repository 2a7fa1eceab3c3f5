"""The service's memory over many requests."""

from dalkit.dev.issuer import issuer

from ..http.comparison import ROWS
from ..http.load import Generator, choose
from ..http.rounds import Plan, served
from ..http.systems import System, generated
from ..http.work import CASES, requests
from ..options import Options
from ..report import Plot, Result, Table
from ..server import Server
from ..stage import Stage
from ..statistics import short

STEPS = 10
NOTE = """
One server, with a token to verify, 32 connections; GET, page, page with total_count and POST in
turn. The first step makes the process warm: plans are cached, the pool is full. Rows stay.
"""


def run(options: Options, it: Stage) -> Result:
    """Measure the resident memory over 200,000 requests."""
    plan = Plan(list(CASES), [32], 1, 2.0, ROWS, pool=10)
    total = 200_000
    if options.short:
        plan, total = Plan(list(CASES), [4], 1, 0.05, 1000, pool=2), 100
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
    return Result("memory", "Memory", [NOTE], [table], plot)


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
