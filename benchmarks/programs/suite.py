"""Tests a second: a folder of tests, run by pytest in the service's folder, in one process."""

import contextlib
import io
import time
from collections import defaultdict
from pathlib import PurePath

import pytest

Moment = tuple[float, float]


class Clock:
    """Notes when tests end, by file; the first one of a file also sets its fixtures up."""

    def __init__(self) -> None:
        self.ends: dict[str, list[Moment]] = defaultdict(list)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Note the time and the CPU."""
        file = PurePath(nodeid.partition("::")[0]).stem
        self.ends[file.removeprefix("test_")].append((time.perf_counter(), time.process_time()))

    def rates(self) -> dict[str, Moment]:
        """Return the tests a second of each file, and a second of its own CPU.

        Without the first and the last test: the last one of the session tears everything down.
        """
        return {file: _rates(ends[0], ends[-2], len(ends) - 2) for file, ends in self.ends.items()}


def _rates(begin: Moment, end: Moment, tests: int) -> Moment:
    return tests / (end[0] - begin[0]), tests / (end[1] - begin[1])


def main(folder: str) -> dict[str, Moment]:
    """Return the tests a second by file; raises AssertionError with the output when one fails."""
    clock, output = Clock(), io.StringIO()
    with contextlib.redirect_stdout(output):
        status = pytest.main(["-q", "-p", "no:cacheprovider", folder], plugins=[clock])
    if status:
        raise AssertionError(output.getvalue())
    return clock.rates()
