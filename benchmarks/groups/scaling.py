"""How throughput grows with a second worker, and with a replica for reads."""

from contextlib import ExitStack
from dataclasses import replace

from dalkit.dev.issuer import issuer

from ..database import forget_created
from ..http.comparison import ROWS
from ..http.load import Generator, choose
from ..http.rounds import Bench, Measured, Plan, served
from ..http.systems import System, generated
from ..http.work import TITLES
from ..machine import cores, unpinned
from ..options import Options
from ..report import Plot, Result, Table
from ..stage import Stage
from ..standby import catch_up, standby
from ..statistics import Spread, ratios

CASES = ["get", "page", "post"]
NOTE = """
The generated service by `serve --workers`, {plan.rounds} rounds of {plan.seconds:g} s for each in
turn, {clients} connections; a worker's pool has {plan.pool}. Load: {load}. The replica is a standby
that streams; nothing is sent with X-Database-Position.
"""
SHARED = """
Workers, load and both servers of PostgreSQL share {cores} cores, and nothing is pinned: what one of
them takes is missing to the others, so that a second worker, or a replica, can give less than where
each has cores of its own.
"""


def run(options: Options, it: Stage) -> Result:
    """Measure requests a second of one and two workers, without and with a replica."""
    plan = Plan(CASES, [64], options.rounds, 1.0, ROWS, pool=10, pinned=False)
    if options.short:
        plan = Plan(CASES, [4], 1, 0.1, 1000, 2, warm_up=0, sequence=200, pinned=False)
    generator = choose(options.short)
    postmaster = int((it.server.data_dir / "postmaster.pid").read_text().split()[0])
    with unpinned(postmaster):
        measured, titles = _measure(plan, generator, it, short=options.short)
    rates = {
        case: {name: [one.rate for one in rounds] for name, rounds in found.items()}
        for case, found in measured.items()
    }
    load = "wrk" if generator.with_wrk else "built in, as wrk is not installed"
    notes = [
        NOTE.format(plan=plan, clients=plan.connections[0], load=load),
        SHARED.format(cores=len(cores()) or "the machine's"),
    ]
    times = {
        name: [ratios(rates[case][name], rates[case]["1"]) for case in CASES] for name in titles
    }
    tables = [
        _table("Times the requests a second of one worker", titles, times),
        _table(
            "Requests a second",
            titles,
            {name: [Spread.of(rates[case][name]) for case in CASES] for name in titles},
        ),
    ]
    plot = Plot(
        "Times the requests a second of one worker",
        "times",
        [TITLES[case] for case in CASES],
        {titles[name]: [spread.median for spread in spreads] for name, spreads in times.items()},
    )
    return Result("scaling", "Workers and a replica", notes, tables, plot)


def _table(caption: str, titles: dict[str, str], spreads: dict[str, list[Spread]]) -> Table:
    rows = [[title, *map(str, spreads[name])] for name, title in titles.items()]
    return Table(caption, ["", *(TITLES[case] for case in CASES)], rows)


def _measure(
    plan: Plan, generator: Generator, it: Stage, *, short: bool
) -> tuple[dict[str, dict[str, list[Measured]]], dict[str, str]]:
    """Return what was measured, by case and by system, and the titles of the systems."""
    url = it.service_database("scaling", plan.rows)
    with ExitStack() as stack:
        replica = stack.enter_context(standby(it.server, it.folder / "standby")).url("scaling")
        catch_up(url, replica)
        tokens = stack.enter_context(issuer())
        plain = next(one for one in generated(it.service, tokens) if one.name == "ours")
        systems = _systems(plain, replica)
        systems = systems[:: len(systems) - 1] if short else systems  # the first and the last
        servers = stack.enter_context(served(systems, plan, url, it.folder))

        def reset(keys: bool) -> None:
            forget_created(url, plan.rows, keys=keys)
            catch_up(url, replica)

        found = Bench(systems, servers, plan, generator, reset).measure()
    by_case = {case: by_system for (case, _), by_system in found.items()}
    return by_case, {system.name: system.title for system in systems}


def _systems(plain: System, replica: str) -> list[System]:
    """Return one worker first: the others are compared with it."""
    reading = {"": {}, ", a replica for reads": {"DATABASE_READ_URL": replica}}
    return [
        replace(
            plain,
            name=f"{workers}{'_replica' * bool(more)}",
            title=f"{workers} worker{'s' * (workers > 1)}{what}",
            environment={**plain.environment, **more, "BENCH_WORKERS": str(workers)},
        )
        for what, more in reading.items()
        for workers in (1, 2)
    ]
