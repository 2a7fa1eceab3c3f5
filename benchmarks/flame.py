"""python -m benchmarks.flame: where the time of a GET, a page and a POST goes, as flame graphs.

py-spy looks at the stack of the generated service while it is under load, and writes
`flame-get.svg`, `flame-page.svg` and `flame-post.svg`; PROFILE.md explains the blocks.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dalkit.dev.issuer import issuer

from .__main__ import folder
from .errors import BenchmarkError
from .http.load import Generator, choose
from .http.rounds import Plan, served
from .http.systems import generated
from .http.work import TITLES, requests
from .machine import pin, server_and_load_core
from .server import Server
from .stage import Stage, stage

FOLDER = Path(__file__).parent
CASES = ("get", "page", "post")
ROWS, POOL, CONNECTIONS = 10_000, 32, 32
SAMPLES_A_SECOND = 200
NOT_ALLOWED = """\
py-spy may not look at a process of its own user here: in a container start it with
`--cap-add SYS_PTRACE`, on macOS run the command with sudo. It said:
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 2 when no profile can be made, and says why."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flame", description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="of each profile")
    parser.add_argument("--output", type=Path, default=FOLDER, help="the folder of the pictures")
    options = parser.parse_args(arguments)
    _, core = server_and_load_core()
    pin(core)
    try:
        with folder() as temporary, stage(temporary) as it:
            _draw(it, options.seconds, options.output)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _draw(it: Stage, seconds: int, output: Path) -> None:
    generator = choose(short=False)
    plan = Plan(CASES, [CONNECTIONS], 1, seconds, ROWS, POOL)
    url = it.service_database("flame", ROWS)
    with issuer() as tokens:
        ours = [system for system in generated(it.service, tokens) if system.name == "ours"]
        with served(ours, plan, url, it.folder) as servers:
            for case in CASES:
                file = output / f"flame-{case}.svg"
                _record(servers["ours"], case, seconds, generator, file)
                print(f"{file.name}: {file.stat().st_size // 1024} KiB", flush=True)


def _record(server: Server, case: str, seconds: int, generator: Generator, file: Path) -> None:
    """Load the server for a little longer than py-spy looks at it."""
    work = requests(case, 20_000, ROWS, seed=0)
    headers = {"Content-Type": "application/json"}
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(
            generator.run, server.port, work, headers, CONNECTIONS, float(seconds + 3)
        )
        command = [
            *(_py_spy(), "record", "--pid", str(server.process.pid), "--output", str(file)),
            *("--duration", str(seconds), "--rate", str(SAMPLES_A_SECOND)),
            *("--nolineno", "--gil"),  # without the threads that only wait
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        load.result()
    if done.returncode or not file.exists():
        said = done.stdout + done.stderr
        is_refused = "ermission" in said or "not permitted" in said
        raise BenchmarkError(NOT_ALLOWED * is_refused + said)
    file.write_text(tidied(file.read_text(), case))


def tidied(picture: str, case: str) -> str:
    """Return the picture with a title, without the folders of this machine."""
    picture = re.sub(r"\(/[^()]*/(?:site-packages|lib/python[\d.]+)/", "(", picture)
    picture = re.sub(r"\(/[^()]*/([^/()]+/[^/()]+)\)", r"(\1)", picture)
    return re.sub(r"[^<>]*py-spy record[^<]*", f"{TITLES[case]}, by the generated service", picture)


def _py_spy() -> str:
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise BenchmarkError("py-spy is not installed: run `uv run --group bench python -m ...`.")
    return found


if __name__ == "__main__":
    sys.exit(main())
