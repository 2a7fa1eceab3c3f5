"""A view with its cache, beside the ORM's warm session, asyncpg and sqlite3."""

import asyncio

from ..child import run as run_program
from ..database import ask
from ..options import Options
from ..programs.view import SLOW
from ..report import Plot, Result, Table
from ..stage import Stage
from ..statistics import Spread, ratios, short

TABLES = """
CREATE TABLE author (id integer PRIMARY KEY, name text NOT NULL);
CREATE TABLE book (id integer PRIMARY KEY, title text NOT NULL,
    author_id integer NOT NULL REFERENCES author, year integer NOT NULL);
INSERT INTO author SELECT i, 'Author ' || i FROM generate_series(1, {authors}) i;
INSERT INTO book SELECT i, 'Book ' || i, 1 + (i - 1) / 10, i FROM generate_series(1, {books}) i;
CREATE INDEX ON book (author_id);
ANALYZE
"""
NOTE = """
Authors with ten books each, in one process, all ways in turn. Single things are CPU time; preloads
are wall time until the objects are returned, the writing of the cache goes on behind. The ORM has
AsyncAttrs and a session that holds everything. The file is read with sqlite3's own loop over the
same query, without a thread. "Without cache" is the same view on the origin, which writes no file.
"""
#: Ours, the reference, and the factor that the ratio is counted in.
RATIOS = (
    ("known object", "known object, ORM"),
    ("known set", "known set, ORM"),
    ("known one", "known one, ORM"),
    ("row of a file", "row of a file, sqlite3"),
    ("preload", "preload, asyncpg"),
    ("preload", "preload, ORM"),
    ("preload of a file", "preload without cache"),
    ("memory", "memory, ORM"),
)


def run(options: Options, it: Stage) -> Result:
    """Measure 10,000 authors."""
    authors, rounds = (200, 1) if options.short else (10_000, options.rounds)
    url = it.empty_database("view")
    statements = TABLES.format(authors=authors, books=10 * authors).split(";")
    asyncio.run(ask(url, *statements, "SELECT 1"))
    folder = it.folder / "view"
    folder.mkdir()
    found: dict[str, list[float]] = run_program("view", url, folder, rounds, authors)
    lines = [
        [
            ours,
            other,
            str(ratios(found[ours], found[other])),
            *(_value(n, found) for n in (ours, other)),
        ]
        for ours, other in RATIOS
    ]
    trips = Spread.of([seconds / SLOW for seconds in found["slow origin"]])
    columns = ["ours", "beside", "ours by that", "ours", "that"]
    tables = [
        Table(f"{authors:,} authors and {10 * authors:,} books", columns, lines),
        Table(
            f"A thousand books and their authors, {SLOW * 1000:.0f} ms for each answer",
            ["", "round trips", "time by that of one answer"],
            [["ours", str(Spread.of(found["round trips"])), str(trips)]],
        ),
    ]
    plot = Plot(
        "A view: our time or memory by the other's",
        "ratio",
        [f"{ours} / {other.rpartition(', ')[2]}" for ours, other in RATIOS],
        {"ratio": [ratios(found[ours], found[other]).median for ours, other in RATIOS]},
    )
    return Result("view", "A view with a cache", [NOTE], tables, plot)


def _value(name: str, found: dict[str, list[float]]) -> str:
    median = Spread.of(found[name]).median
    if name.startswith("memory"):
        return f"{short(median)} bytes"
    return f"{short(median * 1000)} ms" if median > 0.001 else f"{short(median * 1e6)} us"
