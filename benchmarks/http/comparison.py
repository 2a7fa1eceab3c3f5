"""The service over HTTP, beside the bare limit and what people pick instead."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from dalkit.dev.issuer import issuer

from ..database import ask, forget_created
from ..machine import describe_cores
from ..options import Options, select
from ..report import Result
from ..stage import Stage
from .load import Generator, choose
from .rounds import Bench, Measurements, Plan, served
from .systems import REFERENCE, System, chosen, generated, others
from .tables import plot, tables
from .work import CASES

ROWS = 100_000
#: Connections of the pool of every system; fewer than the load has in the saturated case.
POOL, SMALL_POOL = 32, 10
SATURATED_CASES = ("get", "page", "post")
NOTES = """
8 columns, {plan.rows:,} rows, PostgreSQL {postgres}; one server process (uvloop, httptools).
{cores} Load: {load}.

{plan.rounds} rounds of {plan.seconds:g} s for each system in turn, after a warm-up; all answers are
equal JSON. The pool has {plan.pool} connections, {small} where it is saturated.

Share: CPU per request of the bare limit by that of the system, so the limit is 1.00. A POST is
BEGIN, INSERT .. RETURNING, COMMIT and then the response.
"""


@dataclass(frozen=True)
class Comparison:
    """The database and the systems, before anything is started."""

    systems: list[System]
    url: str
    logs: Path
    generator: Generator

    def measure(self, plan: Plan) -> Measurements:
        """Start every system, measure, and end them."""
        with served(self.systems, plan, self.url, self.logs) as servers:
            bench = Bench(
                self.systems,
                servers,
                plan,
                self.generator,
                lambda keys: forget_created(self.url, plan.rows, keys=keys),
            )
            return bench.measure()


def run(options: Options, it: Stage) -> Result:
    """Measure what the options choose; raises BenchmarkError."""
    plan = plan_of(options)
    url = it.service_database("http", plan.rows)
    with issuer() as tokens:
        systems = chosen([*others(), *generated(it.service, tokens)], options)
        comparison = Comparison(systems, url, it.folder, choose(options.short))
        print(f"  {describe_cores()}", flush=True)
        found = comparison.measure(plan)
        saturated = comparison.measure(saturated_plan(plan)) if _saturates(options) else {}
    titles = {system.name: system.title for system in systems}
    return Result(
        name="http",
        title="Requests",
        notes=_notes(plan, comparison.generator, str(asyncio.run(ask(url, "SHOW server_version")))),
        tables=tables(found, saturated, titles, REFERENCE),
        plot=plot(found, titles, REFERENCE),
    )


def _notes(plan: Plan, generator: Generator, version: str) -> list[str]:
    load = "wrk" if generator.with_wrk else "built in, as wrk is not installed"
    facts = {"load": load, "postgres": version, "cores": describe_cores(), "small": SMALL_POOL}
    return NOTES.format(plan=plan, **facts).split("\n\n")


def plan_of(options: Options) -> Plan:
    """Return what to measure with a pool that is large enough."""
    cases = select(list(CASES), options.cases, "case")
    if options.short:
        connections = options.connections or [4]
        return Plan(cases, connections, 1, 0.1, 2000, 4, warm_up=0, sequence=200, pinned=False)
    connections = options.connections or [1, 32]
    return Plan(cases, connections, options.rounds, options.seconds, ROWS, POOL)


def saturated_plan(plan: Plan) -> Plan:
    """Return the same with fewer connections to the database than clients."""
    cases = [case for case in plan.cases if case in SATURATED_CASES]
    clients = max(plan.connections)
    return replace(plan, cases=cases, connections=[clients], pool=min(SMALL_POOL, clients // 2))


def _saturates(options: Options) -> bool:
    return not (options.short or options.connections or options.cases)
