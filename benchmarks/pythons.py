"""The same benchmarks on another Python, in an environment of its own that uv makes."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

from .report import Result
from .stage import ROOT

NO_UV = "--python needs uv, which was not found: https://docs.astral.sh/uv/ says how to install it."


def is_running(version: str) -> bool:
    """Return whether this is that Python: `3.13` is any 3.13.x."""
    asked = version.split(".")
    return [str(part) for part in sys.version_info[:3]][: len(asked)] == asked


def run_on(version: str, arguments: Sequence[str]) -> int:
    """Run these arguments on that Python; return its exit status, 2 without uv."""
    uv = shutil.which("uv")
    if uv is None:
        print(NO_UV, file=sys.stderr)
        return 2
    # --isolated: the environment of this folder stays what it is.
    command = [
        *(uv, "run", "--quiet", "--isolated", "--python", version, "--group", "bench"),
        *("python", "-m", "benchmarks", *arguments),
    ]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def on_python(result: Result, version: str) -> Result:
    """Return the result under a name and title of its own, so that it replaces no other."""
    return replace(
        result,
        name=f"{result.name}-{version}",
        title=f"{result.title} on Python {version}",
        growths={f"{name}-{version}": plot for name, plot in result.growths.items()},
    )
