"""The service over HTTP, beside the bare limit and what people pick instead."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..database import ask, create_item_table, forget_created, postgres
from ..machine import describe_cores
from ..options import Options, select
from ..project import Project, render
from ..report import Result
from .load import Generator, choose
from .rounds import Bench, Measurements, Plan, served
from .systems import REFERENCE, System, chosen, others, ours
from .tables import plot, tables
from .work import CASES

ROWS = 100_000
SCOPES = ("read:items", "write:items")
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
class Stage:
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


def run(options: Options, folder: Path) -> Result:
    """Measure what the options choose; raises BenchmarkError."""
    generator = choose(options.short)
    plan = plan_of(options)
    with stage(options, folder, plan.rows, generator) as it:
        print(f"  {describe_cores()}", flush=True)
        found = it.measure(plan)
        saturated = it.measure(saturated_plan(plan)) if _saturates(options) else {}
        version = str(asyncio.run(ask(it.url, "SHOW server_version")))
    titles = {system.name: system.title for system in it.systems}
    return Result(
        name="http",
        title="Requests",
        notes=_notes(plan, generator, version),
        tables=tables(found, saturated, titles, REFERENCE),
        plot=plot(found, titles, REFERENCE),
    )


def _notes(plan: Plan, generator: Generator, version: str) -> list[str]:
    load = "wrk" if generator.with_wrk else "built in, as wrk is not installed"
    facts = {"load": load, "postgres": version, "cores": describe_cores(), "small": SMALL_POOL}
    notes = NOTES.format(plan=plan, **facts).strip().split("\n\n")
    return [note.replace("\n", " ") for note in notes]


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


@contextmanager
def stage(options: Options, folder: Path, rows: int, generator: Generator) -> Iterator[Stage]:
    """Render the service, start Postgres, fill the table, and run an issuer of tokens."""
    source = Project(options.project) if options.project else render(folder / "rendered")
    plain = source.copy(folder / "plain")
    guarded = source.copy(folder / "guarded")
    plain.add_items(guarded=False)
    guarded.add_items(guarded=True)
    with postgres(plain, folder) as server, plain.tool("issuer").issuer() as issuer:
        url = create_item_table(plain, server, rows)
        systems = chosen([*others(), *_ours(plain, guarded, issuer)], options)
        yield Stage(systems, url, folder, generator)


def _ours(plain: Project, guarded: Project, issuer: Any) -> list[System]:
    return ours(plain, guarded, issuer.url, issuer.audience, issuer.token(SCOPES))
