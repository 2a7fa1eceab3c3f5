"""python -m benchmarks [GROUP ...]: run groups of benchmarks and print what they found."""

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import BenchmarkError
from .groups import (
    bulk,
    generation,
    growth,
    insert_many,
    keyset,
    memory,
    overload,
    reflection,
    scaling,
    startup,
    suite,
    tokens,
    view,
)
from .http import comparison
from .http.load import choose
from .machine import describe, pin, server_and_load_core
from .options import Options, parse
from .plots import FOLDER, draw, draw_growth
from .pythons import is_running, on_python, run_on
from .report import RESULTS, Result, update
from .stage import Stage, stage

GROUPS: dict[str, Callable[[Options, Stage], Result]] = {
    "http": comparison.run,
    "growth": growth.run,
    "overload": overload.run,
    "insert_many": insert_many.run,
    "reflection": reflection.run,
    "keyset": keyset.run,
    "tokens": tokens.run,
    "bulk": bulk.run,
    "view": view.run,
    "suite": suite.run,
    "generation": generation.run,
    "memory": memory.run,
    "scaling": scaling.run,
    "startup": startup.run,
}
#: Those that need a generator of load.
LOADED = {"http", "growth", "overload", "memory", "scaling"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 2 when the harness cannot go on, and says why."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(arguments, GROUPS)
    if options.python and not is_running(options.python):
        return run_on(options.python, arguments)
    _, core = server_and_load_core()
    pin(core)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        _run(options.groups or list(GROUPS), options)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


def _run(names: Sequence[str], options: Options) -> None:
    if LOADED & set(names):
        choose(options.short)
    with folder() as temporary, stage(temporary) as it:
        for name in names:
            _report(name, options, it)


def _report(name: str, options: Options, it: Stage) -> None:
    print(f"{name}:", flush=True)
    started = time.monotonic()
    result = GROUPS[name](options, it)
    if options.python:
        result = on_python(result, options.python)
    about = describe()
    print(f"\n{result.section(about)}\n\n  ({time.monotonic() - started:.0f} s)\n", flush=True)
    if options.short:
        print("  Short mode: the harness works; the numbers mean nothing.", flush=True)
    elif options.writes:
        text = RESULTS.read_text() if RESULTS.exists() else ""
        RESULTS.write_text(update(text, [result.section(about)]))
        if result.plot:
            draw(result.plot, FOLDER / f"{result.name}.svg")
        for file, growth_of in result.growths.items():
            draw_growth(growth_of, FOLDER / f"{file}.svg")


@contextmanager
def folder() -> Iterator[Path]:
    """Yield a folder for everything that a group writes; it is removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="benchmarks-"))
    path.chmod(0o755)  # root runs Postgres as another user, who has to pass through
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
