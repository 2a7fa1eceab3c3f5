"""`insert_many` beside SQLAlchemy's own insert of many rows."""

from typing import Any

from ..child import run as run_program
from ..options import Options
from ..report import Plot, Result, Table
from ..stage import Stage
from ..statistics import Spread, ratios, short

RETURNED = ("entities", "rows", "nothing")
NOTE = """
Rows of 7 values into the table `item`, each time in a transaction that is rolled back;
both ways in turn in one process. With RETURNING SQLAlchemy uses insertmanyvalues (in the
order of the rows), without it executemany.
"""


def run(options: Options, it: Stage) -> Result:
    """Measure 10,000 rows."""
    rows, rounds = (100, 1) if options.short else (10_000, options.rounds)
    found = run_program("insert_many", it.database("many"), rounds, rows)
    table = Table(
        f"insert_many of {rows:,} rows: SQLAlchemy's time by ours",
        ["returned", "wall", "CPU of the client", "ours ms", "SQLAlchemy ms"],
        [_line(found, name) for name in RETURNED],
    )
    times = {
        kind: [_ratio(found, name, kind).median for name in RETURNED] for kind in ("wall", "cpu")
    }
    plot = Plot(f"Times faster than SQLAlchemy, {rows:,} rows", "ratio", RETURNED, times)
    return Result("insert_many", "Insert many", [NOTE], [table], plot)


def _ratio(found: Any, name: str, kind: str) -> Spread:
    ours, theirs = found[name], found[f"{name}, theirs"]
    return ratios([r[kind] for r in theirs], [r[kind] for r in ours])


def _line(found: Any, name: str) -> list[str]:
    walls = [
        short(Spread.of([r["wall"] * 1000 for r in found[key]]).median)
        for key in (name, f"{name}, theirs")
    ]
    return [name, str(_ratio(found, name, "wall")), str(_ratio(found, name, "cpu")), *walls]
