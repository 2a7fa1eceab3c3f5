"""Runs a program of benchmarks/programs in a fresh process: python -m benchmarks.child NAME ..."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import BenchmarkError
from .machine import on_server_core
from .stage import ROOT


def run(
    program: str, *arguments: object, folder: Path = ROOT, variables: Mapping[str, str] = {}
) -> Any:
    """Return what the program's `main` returns; raises BenchmarkError with its output."""
    command = [sys.executable, "-m", "benchmarks.child", program, *map(str, arguments)]
    with on_server_core():
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise BenchmarkError(f"{program} failed:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print the result as the last line."""
    name, *arguments = sys.argv[1:]
    program = importlib.import_module(f"benchmarks.programs.{name}")
    print(json.dumps(program.main(*arguments)))


if __name__ == "__main__":
    main()
