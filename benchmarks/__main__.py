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
from .http import comparison
from .machine import describe, pin, server_and_load_core
from .options import Options, parse
from .plots import FOLDER, draw
from .report import RESULTS, Result, update

GROUPS: dict[str, Callable[[Options, Path], Result]] = {
    "http": comparison.run,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 2 when the harness cannot go on, and says why."""
    options = parse(sys.argv[1:] if arguments is None else arguments, list(GROUPS))
    _, core = server_and_load_core()
    pin(core)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for name in options.groups or GROUPS:
            _run(name, options)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


def _run(name: str, options: Options) -> None:
    print(f"{name}:", flush=True)
    started = time.monotonic()
    with folder() as temporary:
        result = GROUPS[name](options, temporary)
    about = describe()
    print(f"\n{result.section(about)}\n\n  ({time.monotonic() - started:.0f} s)\n", flush=True)
    if options.short:
        print("  Short mode: the harness works; the numbers mean nothing.", flush=True)
    elif options.write:
        text = RESULTS.read_text() if RESULTS.exists() else ""
        RESULTS.write_text(update(text, [result.section(about)]))
        if result.plot:
            draw(result.plot, FOLDER / f"{name}.svg")


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
