"""The harness of the benchmarks runs and compares what it says it compares; not how fast."""

import json
import os
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from dalkit.dev.issuer import issuer

from benchmarks.__main__ import GROUPS
from benchmarks.errors import BenchmarkError
from benchmarks.flame import tidied
from benchmarks.groups import growth
from benchmarks.http.equality import check
from benchmarks.http.load import Generator
from benchmarks.http.rounds import Plan, served
from benchmarks.http.systems import generated
from benchmarks.http.work import CASES, requests
from benchmarks.options import parse
from benchmarks.plots import draw_growth
from benchmarks.pythons import is_running, on_python
from benchmarks.report import Growth, Result, update
from benchmarks.stage import stage

from .baking import ROOT

ALL = list(GROUPS)
IN_CI = pytest.mark.skipif(
    os.environ.get("EVERY_BENCHMARK") != "1", reason="EVERY_BENCHMARK=1 runs it, as .ci/run does"
)
STANDARD_LIBRARY = ("asyncio/", "concurrent/", "json/", "threading.py", "urllib/", "enum.py")


def benchmarks(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Return the ended `python -m benchmarks ...`."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def answering(body: object, status: int = 200) -> Iterator[int]:
    """Yield the port of a server that gives the same answer to everything."""
    content = json.dumps(body).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def files() -> dict[Path, bytes]:
    """Return the files of the benchmarks, without what Python caches."""
    found = [path for path in (ROOT / "benchmarks").rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in found if "__pycache__" not in path.parts}


@pytest.mark.parametrize(
    "groups",
    [
        ALL[:1],
        pytest.param(ALL[1:5], marks=IN_CI),
        pytest.param(ALL[5:], marks=IN_CI),
    ],
    ids=" ".join,
)
def test_the_short_mode_runs_every_group_and_writes_nothing(groups: list[str]) -> None:
    before = files()
    ended = benchmarks("--short", "--write", *groups)
    assert ended.returncode == 0, ended.stderr + ended.stdout[-4000:]
    pictures = sum(5 if group == "growth" else 1 for group in groups)
    assert (ended.stdout.count("\n## "), ended.stdout.count("\n![")) == (len(groups), pictures)
    if "http" in groups:
        assert len(re.findall(r"\d+ answers of [89] systems are equal", ended.stdout)) == 4
    assert files() == before


def test_without_wrk_the_short_mode_loads_by_itself_and_says_so(tmp_path: Path) -> None:
    """CI has no wrk."""
    for folder in map(Path, os.environ["PATH"].split(os.pathsep)):
        for command in folder.glob("*"):
            if command.name != "wrk" and not (tmp_path / command.name).is_symlink():
                (tmp_path / command.name).symlink_to(command)
    short = ("http", "--short", "--only", "bare,ours", "--cases", "get,post")
    ended = benchmarks(*short, PATH=str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert "Load: built in, as wrk is not installed" in ended.stdout


def test_without_wrk_nothing_is_measured_and_the_remedy_is_named() -> None:
    ended = benchmarks("http", PATH="")
    assert ended.returncode == 2
    assert "apt-get install wrk" in ended.stderr


def test_ours_is_the_generated_service_and_one_of_it_asks_for_a_token(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # root runs Postgres as another user
    with stage(tmp_path) as it, issuer() as tokens:
        systems = [
            one for one in generated(it.service, tokens) if one.name in ("ours", "ours_auth")
        ]
        url = it.service_database("ours", 10)
        plan = Plan(["get"], [1], rounds=1, seconds=1, rows=10, pool=2, pinned=False)
        with served(systems, plan, url, tmp_path) as servers:
            port = servers["ours"].port
            assert httpx.get(f"http://127.0.0.1:{port}/v1/items/1").json()["id"] == 1
            assert httpx.get(f"http://127.0.0.1:{port}/v1/books").status_code == 401
            assert '"route":"/v1/items/{item_id}","status":200' in servers["ours"].log_tail()
            guarded = f"http://127.0.0.1:{servers['ours_auth'].port}/v1/items/1"
            assert httpx.get(guarded).status_code == 401
            assert httpx.get(guarded, headers=systems[1].headers).json()["id"] == 1


def test_a_system_that_answers_something_else_is_found_out() -> None:
    with answering({"id": 1, "name": "a"}) as first, answering({"id": 1, "name": "b"}) as second:
        same, other = {"a": first, "b": first}, {"a": first, "b": second}
        headers: dict[str, dict[str, str]] = {"a": {}, "b": {}}
        assert check("get", 10, same, headers, lambda: None) == 20
        with pytest.raises(BenchmarkError, match=r'(?s)The answers to GET .*-.*"a".*\+.*"b"'):
            check("get", 10, other, headers, lambda: None)


def test_equal_errors_are_no_agreement() -> None:
    with (
        answering({"status": 404}, 404) as port,
        pytest.raises(BenchmarkError, match=r"a answers GET .* with 404"),
    ):
        check("get", 10, {"a": port}, {"a": {}}, lambda: None)


@pytest.mark.parametrize("status", [500, 302])
def test_an_error_during_the_load_ends_the_run(status: int) -> None:
    with answering({}, status) as port, pytest.raises(BenchmarkError, match="were errors"):
        Generator(with_wrk=False).run(port, requests("get", 5, 10, 1), {}, 1, 0.05)


@pytest.mark.parametrize("case", CASES)
def test_the_same_seed_gives_the_same_work(case: str) -> None:
    assert requests(case, 50, 1000, seed=1) == requests(case, 50, 1000, seed=1)
    assert requests(case, 50, 1000, seed=1) != requests(case, 50, 1000, seed=2)


@pytest.mark.parametrize(
    "part", ["--short", "--only=bare", "--cases=get", "--connections=1", "--set=A=1"]
)
def test_results_of_a_part_are_not_kept(part: str) -> None:
    assert parse(["--write"], GROUPS).writes
    assert not parse(["--write", part], GROUPS).writes


@pytest.mark.parametrize(
    ("costs", "worse"),
    [
        ([[10, 11, 10], [99, 100, 98], [4000, 300, 300]], []),
        ([[10, 10], [100, 100], [400, 400]], []),
        ([[10, 10], [101, 101], [300, 300]], ["10 to 100"]),
        ([[10, 10], [11, 11], [45, 45]], ["100 to 400"]),
    ],
)
def test_a_step_is_worse_than_linear_when_the_cost_grows_by_more_than_the_size(
    costs: list[list[float]], worse: list[str]
) -> None:
    assert growth.worse_than_linear([10, 100, 400], costs) == worse


def test_the_lines_of_a_growth_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    found = Growth("By size", "routes", [10, 100, 400], {"CPU": [1.0, 1.5, 2.0]})
    for name in ("one", "two"):
        draw_growth(found, tmp_path / f"{name}.svg")
    drawn = (tmp_path / "one.svg").read_text()
    assert drawn == (tmp_path / "two.svg").read_text()
    assert all(text in drawn for text in ("By size", "routes", "400", "linear", "CPU"))


def test_another_python_is_a_result_of_its_own_and_needs_uv() -> None:
    it = Result("http", "Requests", [], [], growths={"lines": Growth("By size", "", [1], {})})
    other = on_python(it, "3.13")
    assert (other.name, other.title, list(other.growths)) == (
        "http-3.13",
        "Requests on Python 3.13",
        ["lines-3.13"],
    )
    running = platform.python_version_tuple()
    assert is_running(".".join(running[:2]))
    assert is_running(".".join(running))
    assert not is_running(f"{running[0]}.1")
    ended = benchmarks("http", "--short", "--python", f"{running[0]}.1", PATH="")
    assert ended.returncode == 2
    assert "needs uv" in ended.stderr


def test_the_profile_explains_the_blocks_of_the_flame_graphs() -> None:
    folder = ROOT / "benchmarks"
    seen: dict[str, float] = {}
    for picture in ("get", "page", "post"):
        text = (folder / f"flame-{picture}.svg").read_text()
        assert len(text) < 300_000
        assert not re.search(r"/(home|root|work|tmp|usr)/", text)
        for block, share in re.findall(r"\(([^()]+\.py)\) \([\d,]+ samples, ([\d.]+)%\)", text):
            seen[block] = max(seen.get(block, 0), float(share))
    explained = set(re.findall(r"`([\w/]+\.py)`", (folder / "PROFILE.md").read_text()))
    assert len(explained) > 30
    assert explained <= seen.keys()
    large = {block for block, share in seen.items() if share >= 2}
    around = {"benchmarks/serve.py", "uvicorn/server.py", "uvicorn/_compat.py"}
    library = {block for block in large if not block.startswith(STANDARD_LIBRARY)}
    assert library - around <= explained


def test_a_flame_graph_names_no_folder_of_this_machine() -> None:
    seen = (
        "main (/home/me/it/benchmarks/serve.py) send (/opt/it/lib/python3.11/site-packages/a/b.py)"
        "<text>/opt/py-spy record --output /home/me/get.svg</text>"
    )
    tidy = (
        "main (benchmarks/serve.py) send (a/b.py)<text>GET by key, by the generated service</text>"
    )
    assert tidied(seen, "get") == tidy


def test_a_section_of_the_results_replaces_the_one_before() -> None:
    text = update(update("", ["## A\n\nold", "## B\n\nkept"]), ["## A\n\nnew"])
    assert "new" in text
    assert "old" not in text
    assert text.index("## A") < text.index("## B")
    assert update(text, []) == text
