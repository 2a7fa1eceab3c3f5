"""Reflection of 10, 100 and 1000 tables beside `metadata.reflect`."""

import asyncio

from ..child import run as run_program
from ..database import ask
from ..options import Options
from ..report import Plot, Result, Table
from ..stage import Stage
from ..statistics import Spread, ratios, short

TABLE = """
CREATE TABLE t{number} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    parent_id bigint NOT NULL REFERENCES t{parent},
    code uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    name text NOT NULL CHECK (name <> ''),
    price numeric(10, 2),
    tags text[],
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON t{number} (parent_id, name)
"""
WAYS = {"ready": "until a service can start", "used": "and every table used"}
NOTE = """
Every time in a fresh process, with an open connection. A table has 7 columns, a primary, a
unique and a foreign key, a check and an index. The library builds a table when it is first
used: so both the time until a service can start, and the time until all of them were used.
"""


def run(options: Options, it: Stage) -> Result:
    """Measure each number of tables."""
    numbers, rounds = ([3], 1) if options.short else ([10, 100, 1000], options.rounds)
    found: dict[int, dict[str, list[float]]] = {}
    for number in numbers:
        url = _tables(it, number)
        seconds: dict[str, list[float]] = {"plain": [], **{way: [] for way in WAYS}}
        for _ in range(rounds):
            for way, times in seconds.items():
                times.append(run_program("reflection", url, way, number))
        found[number] = seconds
    lines = [_line(number, way, found[number]) for number in numbers for way in WAYS]
    columns = ["tables", "ours", "ours by plain", "ours ms", "plain ms"]
    table = Table("Time of ours by that of `metadata.reflect`", columns, lines)
    shares = {
        WAYS[way]: [ratios(found[n][way], found[n]["plain"]).median for n in numbers]
        for way in WAYS
    }
    names = [f"{number} tables" for number in numbers]
    plot = Plot("Reflection: our time by metadata.reflect's", "ratio", names, shares)
    return Result("reflection", "Reflection", [NOTE], [table], plot)


def _tables(it: Stage, number: int) -> str:
    url = it.empty_database(f"tables{number}")
    statements = [TABLE.format(number=i, parent=i // 2) for i in range(number)]
    asyncio.run(ask(url, *";".join(statements).split(";"), "SELECT 1"))
    return url


def _line(number: int, way: str, seconds: dict[str, list[float]]) -> list[str]:
    times = [short(Spread.of(seconds[name]).median * 1000) for name in (way, "plain")]
    return [str(number), WAYS[way], str(ratios(seconds[way], seconds["plain"])), *times]
