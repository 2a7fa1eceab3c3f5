"""How long generating a service takes, beside starting cookiecutter."""

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import BenchmarkError
from ..machine import on_server_core
from ..options import Options
from ..report import Plot, Result, Table
from ..stage import ROOT, Stage
from ..statistics import Spread, ratios, short

NOTE = "The default answers, a fresh process each time: render, run the hooks, write the files."


def run(options: Options, it: Stage) -> Result:
    """Measure the command."""
    rounds = 1 if options.short else 2 * options.rounds
    start: list[float] = []
    generate: list[float] = []
    for _ in range(rounds):
        with TemporaryDirectory(dir=it.folder) as folder:
            start.append(_seconds("cookiecutter", "--version"))
            arguments = ["--no-input", "--config-file", "/dev/null", "--output-dir", folder]
            generate.append(_seconds("cookiecutter", *arguments, str(ROOT)))
            files = sum(path.is_file() for path in Path(folder).rglob("*"))
    table = Table(
        f"Generating {files} files",
        ["command", "by starting cookiecutter", "seconds"],
        [
            ["`cookiecutter --version`", "1.00", short(Spread.of(start).median)],
            [
                "`cookiecutter --no-input .`",
                str(ratios(generate, start)),
                short(Spread.of(generate).median),
            ],
        ],
    )
    seconds = {"start": [Spread.of(start).median], "generate": [Spread.of(generate).median]}
    plot = Plot("Generating a service", "seconds", ["cookiecutter"], seconds)
    return Result("generation", "Generation", [NOTE], [table], plot)


def _seconds(module: str, *arguments: str) -> float:
    with on_server_core():
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False
        )
        took = time.perf_counter() - started
    if done.returncode:
        raise BenchmarkError(f"{module} failed:\n{done.stdout}{done.stderr}")
    return took
