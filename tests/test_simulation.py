"""The simulation of replicas obeys its assumptions, and the guide quotes what it prints."""

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
    """All lines, of which the quick ones are simulated again."""
    names = [it.name for it in SCENARIOS for _ in PODS]
    quoted = [line for line in GUIDE.splitlines() if re.match(r"\| (no|\d+) PgBouncer", line)]
    assert [line.split(" | ")[0] for line in quoted] == [f"| {name}" for name in names]
    for it in (DIRECT, BOUNCED):
        assert row(it, PODS[0]) in quoted
