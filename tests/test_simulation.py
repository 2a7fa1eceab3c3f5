"""The simulation of replicas obeys its assumptions, and the guide quotes what it prints."""

import os
import re
from dataclasses import replace

import pytest

from benchmarks.replicas import END, PODS, SCENARIOS, WARM_UP, Assumptions, Simulation, row

from .baking import ROOT

GUIDE = (ROOT / "dalkit" / "docs" / "kubernetes.md").read_text("utf-8")
DIRECT, BOUNCED = SCENARIOS[:2]
READS = replace(DIRECT, writes=0.0, max_connections=10_000)


def simulated(it: Assumptions, pods: int = 100) -> tuple[float, str]:
    """Return the answers a second, and the limit."""
    run = Simulation(it, pods, seed=7)
    run.run()
    return len(run.times) / (END - WARM_UP), run.limit()


@pytest.mark.parametrize(
    ("it", "most", "limit"),
    [
        (READS, 14_000, ""),
        (replace(READS, cores=1), 1 / 0.0002, "processors of PostgreSQL"),
        (replace(READS, bouncers=1, forwarding=0.0001), 1 / 0.0003, "processors of PgBouncer"),
        (
            replace(READS, bouncers=1, network=0.01, statement=1e-6, forwarding=1e-6),
            30 / 0.03,
            "server connections of PgBouncer",
        ),
        (replace(READS, writes=1.0, flush=1e-6, commit=1e-4, pool=1), 1 / 1e-4, "COMMITs"),
        (replace(READS, work=0.02), 100 / 0.02, ""),  # the pods' own cores
    ],
)
def test_throughput_ends_where_the_narrowest_place_is_full(
    it: Assumptions, most: float, limit: str
) -> None:
    """100 pods send 14,000 requests a second; what one place can do is known without simulating."""
    answers, found = simulated(it)
    assert found == limit
    assert answers == pytest.approx(most, rel=0.05)


def test_connections_are_refused_beyond_what_there_are() -> None:
    few = replace(DIRECT, max_connections=50)
    run = Simulation(few, 100, seed=7)
    run.run()
    assert (run.connections, run.limit()) == (50, "connections of PostgreSQL")
    assert run.refused > 0


def test_the_guide_quotes_the_table() -> None:
    """All lines, of which the quick ones are simulated again, and with SOAK=1 all."""
    names = [it.name for it in SCENARIOS for _ in PODS]
    quoted = [line for line in GUIDE.splitlines() if re.match(r"\| (no|\d+) PgBouncer", line)]
    assert [line.split(" | ")[0] for line in quoted] == [f"| {name}" for name in names]
    quick = PODS if os.environ.get("SOAK") == "1" else PODS[:2]
    for number, it in enumerate(SCENARIOS):
        of_it = quoted[number * len(PODS) :]
        assert [row(it, pods) for pods in quick] == of_it[: len(quick)]


def test_the_guide_states_the_assumptions() -> None:
    assumed = replace(DIRECT, name="", bouncers=0)
    assert {replace(it, name="", bouncers=0, writes=assumed.writes) for it in SCENARIOS} == {
        assumed
    }
    assert [it.writes for it in SCENARIOS] == [0.2, 0.2, 0.2, 0.5]
    stated = " ".join(GUIDE.split())
    it = assumed
    for sentence in (
        f"half a second of up to {max(PODS):,} pods, of which the last {END - WARM_UP:g} seconds",
        f"{it.rate:g} requests a second for each pod, each with {it.work * 1e3:g} ms of",
        f"{100 * it.rate * it.work:g} % of it",
        "One in five writes, in the last part of the table one in two.",
        f"{it.network * 1e3:g} ms of network and {it.statement * 1e3:g} ms of a core of PostgreSQL",
        f"for each round trip, of {it.cores} cores.",
        f"A read has {DIRECT.reading} round trips, behind PgBouncer {BOUNCED.reading}; a write",
        f"has {DIRECT.writing} and the COMMIT.",
        f"Pools of {it.pool}, which open connections when they need them;",
        f"{it.max_connections} connections of PostgreSQL.",
        f"{it.forwarding * 1e3:g} ms of its one core for each round trip, and",
        f"{it.default_pool_size} server connections in each process.",
        f"takes {it.flush * 1e3:g} ms for all who wait for it together, and",
        f"{it.commit * 1e3:g} ms more for each COMMIT: {1 / it.commit:,.0f} a second",
    ):
        assert sentence in stated
