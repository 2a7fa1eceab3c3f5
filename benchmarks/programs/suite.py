"""Tests a second: a folder of tests, run by pytest in the service's folder, in one process."""

import contextlib
import io
import time
from collections import defaultdict
from pathlib import PurePath

import pytest


class Clock:
    """Notes when tests end, by file; the first one of a file also sets its fixtures up."""

    def __init__(self) -> None:
        self.ends: dict[str, list[float]] = defaultdict(list)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Note it."""
        file = PurePath(nodeid.partition("::")[0]).stem
        self.ends[file.removeprefix("test_")].append(time.perf_counter())

    def rates(self) -> dict[str, float]:
        """Return the tests a second of each file, without its first and its last.

        The last one of the session tears everything down.
        """
        return {file: (len(ends) - 2) / (ends[-2] - ends[0]) for file, ends in self.ends.items()}


def main(folder: str) -> dict[str, float]:
    """Return the tests a second by file; raises AssertionError with the output when one fails."""
    clock, output = Clock(), io.StringIO()
    with contextlib.redirect_stdout(output):
        status = pytest.main(["-q", "-p", "no:cacheprovider", folder], plugins=[clock])
    if status:
        raise AssertionError(output.getvalue())
    return clock.rates()
