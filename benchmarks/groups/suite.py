"""Tests a second with the generated fixtures, each test rolled back, beside empty tests."""

from typing import Any

from ..child import run as run_program
from ..options import Options
from ..report import Plot, Result, Table
from ..stage import Stage
from ..statistics import Spread, ratios

HEAD = """\
import httpx
import pytest

each = pytest.mark.parametrize("number", range({number}))
"""
TESTS = {
    "empty": """

@each
async def test_nothing(number: int) -> None:
    pass
""",
    "get": """

@each
async def test_the_list_is_empty(number: int, client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/books")
    assert response.json()["results"] == []
""",
    "post": """

@each
async def test_an_author_is_created(number: int, client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/authors", json={"name": "Only"})
    assert response.status_code == 201
""",
}
TITLES = {"empty": "an empty async test", "get": "GET of a list", "post": "POST of a row"}
NOTE = """
The generated conftest.py: each test has a transaction that is rolled back, each request is a
savepoint in it and carries a token. One process; what the first and last test set up and tear
down for all of them is left out.
"""


def run(options: Options, it: Stage) -> Result:
    """Measure some hundred tests of each kind."""
    number, rounds = (5, 1) if options.short else (600, options.rounds)
    folder = it.service.folder / "tests" / "bench"
    folder.mkdir()
    found: dict[str, list[Any]] = {name: [] for name in TESTS}
    for name, test in TESTS.items():
        (folder / f"test_{name}.py").write_text(HEAD.format(number=number) + test)
    variables = {**it.service.variables, "TEST_DATABASE_URL": it.server.url("bench_test")}
    for _ in range(rounds):
        rates_of = run_program(
            "suite", "tests/bench", folder=it.service.folder, variables=variables
        )
        for name, rates in rates_of.items():
            found[name].append(rates)
    walls, cpus = ({name: [r[i] for r in rates] for name, rates in found.items()} for i in (0, 1))
    table = Table(
        "Tests a second",
        ["test", "by an empty test", "tests / s", "tests / s of pytest's CPU"],
        [
            [
                title,
                str(ratios(walls[n], walls["empty"])),
                *(str(Spread.of(rates[n])) for rates in (walls, cpus)),
            ]
            for n, title in TITLES.items()
        ],
    )
    medians = {title: [Spread.of(walls[name]).median] for name, title in TITLES.items()}
    plot = Plot("Tests a second, one process", "tests / s", ["rolled back"], medians)
    return Result("suite", "Tests", [NOTE], [table], plot)
