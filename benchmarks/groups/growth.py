"""Costs of a request as routes, columns, rows of a page and connections become more."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from dalkit.dev.issuer import issuer

from ..database import ask
from ..http.comparison import ROWS
from ..http.load import choose
from ..http.rounds import Bench, Measured, Plan, served
from ..http.systems import System, generated
from ..http.work import Request, requests
from ..options import Options
from ..report import Growth, Result, Table
from ..server import Server
from ..stage import Stage
from ..statistics import Spread, ratios, short

ROUTES = (10, 100, 400)
COLUMNS = (1, 10, 100)
PAGES = (1, 10, 100, 1000)
CONNECTIONS = (1, 32, 256)
NOTE = """
One server of the generated service for each number of routes, all steps of an axis in turn; 32
connections where they are not what grows. A row of 10 or 100 columns is a key and texts of 8
characters. A step is worse than linear when the CPU of a request grows by more than the size does.
"""
POOL = 32
WIDE = """
CREATE TABLE wide{columns} (id bigint PRIMARY KEY{more});
INSERT INTO wide{columns} SELECT i{values} FROM generate_series(1, 1000) i;
ANALYZE wide{columns}
"""


@dataclass(frozen=True)
class Step:
    """One size on an axis: which server is asked for what, over how many connections."""

    size: int
    server: str
    work: Callable[[int], list[Request]]  # of the round's number
    connections: int = 32


@dataclass(frozen=True)
class Axis:
    """What grows."""

    name: str
    title: str
    unit: str
    steps: Sequence[Step]


def run(options: Options, it: Stage) -> Result:
    """Measure each axis."""
    plan = Plan([], [], options.rounds, options.seconds, ROWS, POOL)
    if options.short:
        plan = replace(plan, rounds=1, seconds=0.05, rows=1000, pool=4, warm_up=0, pinned=False)
    url = it.service_database("growth", plan.rows)
    for columns in COLUMNS:
        _create_wide(url, columns)
    routes = (2, 4) if options.short else ROUTES
    with _servers(it, plan, url, routes) as (systems, servers):
        bench = Bench(systems, servers, plan, choose(options.short), lambda keys: None)
        found = [
            (axis, _measure(bench, axis))
            for axis in axes(plan.rows, routes, (1, 4) if options.short else CONNECTIONS)
        ]
    return Result(
        "growth",
        "Growth",
        [NOTE, *(verdict(axis, steps) for axis, steps in found)],
        [_table(axis, steps) for axis, steps in found],
        growths={f"growth-{axis.name}": _growth(axis, steps) for axis, steps in found},
    )


def axes(rows: int, routes: Sequence[int], connections: Sequence[int]) -> list[Axis]:
    """Return what is measured; the last of many resources, which a search in order finds last."""

    def get(prefix: str, most: int) -> Callable[[int], list[Request]]:
        keys = [request.path.rpartition("/")[2] for request in requests("get", 2000, most, 0)]
        work = [Request("GET", f"/v1/{prefix}/{key}") for key in keys]
        return lambda number: work

    def post(prefix: str) -> Callable[[int], list[Request]]:
        return lambda number: [
            request._replace(path=f"/v1/{prefix}")
            for request in requests("post", 2000, rows, number)
        ]

    def page(limit: int) -> Callable[[int], list[Request]]:
        return lambda number: [Request("GET", f"/v1/rows?limit={limit}&count=none")]

    last = {number: f"resource{number // 2 - 1}" for number in routes}
    first = str(routes[0])
    return [
        Axis("routes", "GET by key, by routes of the service", "routes",
             [Step(n, str(n), get(last[n], rows)) for n in routes]),
        Axis("links", "POST with a Location, by routes of the service", "routes",
             [Step(n, str(n), post(last[n])) for n in routes]),
        Axis("columns", "GET by key, by columns of the table", "columns",
             [Step(n, first, get(f"wide{n}", 1000)) for n in COLUMNS]),
        Axis("rows", "page, by its rows", "rows", [Step(n, first, page(n)) for n in PAGES]),
        Axis("connections", "GET by key, by connections of clients", "connections",
             [Step(n, first, get("items", rows), n) for n in connections]),
    ]  # fmt: skip


@contextmanager
def _servers(
    it: Stage, plan: Plan, url: str, routes: Sequence[int]
) -> Iterator[tuple[Sequence[System], Mapping[str, Server]]]:
    """Yield the service once for each number of routes."""
    with ExitStack() as stack:
        tokens = stack.enter_context(issuer())
        plain = next(one for one in generated(it.service, tokens) if one.name == "ours")
        systems = [
            replace(
                plain,
                name=str(number),
                title=f"{number} routes",
                app="benchmarks.systems.growth:app",
                environment={**plain.environment, "BENCH_ROUTES": str(number)},
            )
            for number in routes
        ]
        yield systems, stack.enter_context(served(systems, plan, url, it.folder))


def _measure(bench: Bench, axis: Axis) -> list[list[Measured]]:
    """Return the loads of each step, one for each round."""
    found: list[list[Measured]] = [[] for _ in axis.steps]
    by_name = {system.name: system for system in bench.systems}
    plan = bench.plan
    for number in range(0 if plan.warm_up else 1, plan.rounds + 1):
        for step, loads in zip(axis.steps, found, strict=True):
            seconds = plan.seconds if number else plan.warm_up
            measured = bench.load(
                by_name[step.server], step.work(number), step.connections, seconds
            )
            if number:  # round 0 warms up
                loads.append(measured)
    print(f"  {verdict(axis, found)}", flush=True)
    return found


def verdict(axis: Axis, found: Sequence[Sequence[Measured]]) -> str:
    """Return a sentence that says which steps are worse than linear."""
    costs = [[load.cost for load in loads] for loads in found]
    sizes = [step.size for step in axis.steps]
    worse = worse_than_linear(sizes, costs)
    if worse:
        return f"{axis.title}: **worse than linear** from {' and from '.join(worse)}."
    grown = short(ratios(costs[-1], costs[0]).median)
    ends = f"{grown} times from {sizes[0]} to {sizes[-1]:,}"
    return f"{axis.title}: no step is worse than linear; {ends}."


def worse_than_linear(sizes: Sequence[int], costs: Sequence[Sequence[float]]) -> list[str]:
    """Return the steps whose cost, the median of its rounds, grows by more than the size."""
    steps = zip(sizes, sizes[1:], costs, costs[1:], strict=False)
    return [
        f"{size} to {larger:,}"
        for size, larger, cost, more in steps
        if ratios(more, cost).median > larger / size
    ]


def _table(axis: Axis, found: Sequence[Sequence[Measured]]) -> Table:
    rows = [
        [
            f"{step.size:,}",
            str(ratios([load.cost for load in loads], [load.cost for load in found[0]])),
            str(Spread.of([load.cost for load in loads])),
            short(Spread.of([load.rate for load in loads]).median),
            str(ratios([load.rate for load in loads], [load.rate for load in found[0]])),
            *(_latency(loads, found[0], name) for name in ("p50", "p99")),
        ]
        for step, loads in zip(axis.steps, found, strict=True)
    ]
    columns = [axis.unit, "CPU, by the first", "CPU µs / request", "requests / s", "by the first"]
    return Table(axis.title, [*columns, "p50 ms, by the first", "p99 ms, by the first"], rows)


def _latency(loads: Sequence[Measured], first: Sequence[Measured], name: str) -> str:
    times, before = ([getattr(it.load, name) / 1000 for it in those] for those in (loads, first))
    return f"{short(Spread.of(times).median)}, {short(ratios(times, before).median)}"


def _growth(axis: Axis, found: Sequence[Sequence[Measured]]) -> Growth:
    series = {
        "CPU of a request": [Spread.of([it.cost for it in loads]).median for loads in found],
        "p50": [Spread.of([it.load.p50 for it in loads]).median for loads in found],
        "p99": [Spread.of([it.load.p99 for it in loads]).median for loads in found],
    }
    return Growth(axis.title, axis.unit, [step.size for step in axis.steps], series)


def _create_wide(url: str, columns: int) -> None:
    names = range(1, columns)
    text = WIDE.format(
        columns=columns,
        more="".join(f", c{i} text NOT NULL" for i in names),
        values="".join(f", 'text{i:04}'" for i in names),
    )
    asyncio.run(ask(url, *text.split(";"), "SELECT 1"))
