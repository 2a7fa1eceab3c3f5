"""`insert_many` beside SQLAlchemy's own insert of many rows."""

from typing import Any

from ..child import run as run_program
from ..options import Options
from ..report import Plot, Result, Table
from ..stage import Stage
from ..statistics import Spread, ratios, short

NUMBERS = (10, 1000, 10_000, 100_000)
RETURNED = ("entities", "rows", "nothing")
NOTE = """
Rows of 7 values into the table `item`, each time in a transaction that is rolled back;
both ways in turn in one process. With RETURNING SQLAlchemy uses insertmanyvalues (in the
order of the rows), without it executemany.
"""


def run(options: Options, it: Stage) -> Result:
    """Measure ten rows, and 1,000 to 100,000."""
    numbers, rounds = ((10, 100), 1) if options.short else (NUMBERS, options.rounds)
    url = it.database("many")
    found = {number: run_program("insert_many", url, rounds, number) for number in numbers}
    tables = [
        Table(
            f"insert_many of {number:,} rows: SQLAlchemy's time by ours",
            ["returned", "wall", "CPU of the client", "ours ms", "SQLAlchemy ms"],
            [_line(found[number], name) for name in RETURNED],
        )
        for number in numbers
    ]
    shown = numbers[-2]
    times = {
        kind: [_ratio(found[shown], name, kind).median for name in RETURNED]
        for kind in ("wall", "cpu")
    }
    plot = Plot(f"Times faster than SQLAlchemy, {shown:,} rows", "ratio", RETURNED, times)
    return Result("insert_many", "Insert many", [NOTE], tables, plot)


def _ratio(found: Any, name: str, kind: str) -> Spread:
    ours, theirs = found[name], found[f"{name}, theirs"]
    return ratios([r[kind] for r in theirs], [r[kind] for r in ours])


def _line(found: Any, name: str) -> list[str]:
    walls = [
        short(Spread.of([r["wall"] * 1000 for r in found[key]]).median)
        for key in (name, f"{name}, theirs")
    ]
    return [name, str(_ratio(found, name, "wall")), str(_ratio(found, name, "cpu")), *walls]
