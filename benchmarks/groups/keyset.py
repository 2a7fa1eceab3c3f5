"""A page by cursor costs the same in a small and in a large table."""

from ..child import run as run_program
from ..options import Options
from ..report import Plot, Result, Table
from ..stage import Stage
from ..statistics import Spread, ratios, short

NOTE = """
`Item.page` of 20 rows from the middle of the table, without HTTP; the p50 of a round, all tables
in turn page by page. By offset for comparison: it has to pass over all rows before.
"""


def run(options: Options, it: Stage) -> Result:
    """Measure tables of 10^3 to 10^6 rows."""
    sizes, pages, rounds = ([100, 1000], 20, 1) if options.short else (SIZES, 200, options.rounds)
    tables = [f"{size}={it.database(f'items{size}', size)}" for size in sizes]
    turns = [run_program("keyset", pages, *tables) for _ in range(rounds)]
    ways = {
        way: {size: [turn[str(size)][way] for turn in turns] for size in sizes}
        for way in ("cursor", "offset")
    }
    table = Table(
        f"p50 of a page, by that of {sizes[0]:,} rows",
        ["rows", "by cursor", "by offset", "by cursor ms", "by offset ms"],
        [
            [
                f"{size:,}",
                *(str(ratios(times[size], times[sizes[0]])) for times in ways.values()),
                *(short(Spread.of(times[size]).median * 1000) for times in ways.values()),
            ]
            for size in sizes
        ],
    )
    names = [f"{size:,} rows" for size in sizes]
    by_cursor = [ratios(ways["cursor"][size], ways["cursor"][sizes[0]]).median for size in sizes]
    plot = Plot("p50 of a page by cursor", f"by that of {names[0]}", names, {"cursor": by_cursor})
    return Result("keyset", "Keyset pages", [NOTE], [table], plot)


SIZES = [1000, 10_000, 100_000, 1_000_000]
