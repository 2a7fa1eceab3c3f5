"""Verification of access tokens beside `jwt.decode`."""

from ..child import run as run_program
from ..options import Options
from ..report import Plot, Result, Table
from ..stage import Stage
from ..statistics import Spread, ratios, short

TITLES = {
    "known": "ours, a token seen before",
    "new": "ours, a new token",
    "jwt.decode": "`jwt.decode` alone",
}
NOTE = """
RS256 with a key of 2048 bits, in turn in one process; seconds of its CPU. `jwt.decode` is given the
key; ours finds it by the token's key id, checks more, and builds the user.
"""


def run(options: Options, _: Stage) -> Result:
    """Measure tokens a second."""
    number, rounds = (20, 1) if options.short else (5000, options.rounds)
    found = run_program("tokens", rounds, number)
    plain = found["jwt.decode"]
    table = Table(
        "Tokens a second",
        ["way", "by `jwt.decode`", "tokens / s"],
        [
            [title, str(ratios(found[name], plain)), short(Spread.of(found[name]).median)]
            for name, title in TITLES.items()
        ],
    )
    shares = {
        title.replace("`", ""): [ratios(found[name], plain).median]
        for name, title in TITLES.items()
    }
    plot = Plot("Tokens a second, jwt.decode is 1", "ratio", ["RS256"], shares)
    return Result("tokens", "Token verification", [NOTE], [table], plot)
