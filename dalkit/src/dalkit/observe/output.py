"""Where the lines of the log go: to a pipe, a socket or a file, which cannot stop the service."""

import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from time import monotonic
from typing import TextIO

#: Seconds in each PERIOD that lines wait for who takes them; beyond that, lines are lost.
PATIENCE = 1.0
PERIOD = 10.0


class Output:
    """Writes to what `stream` is open on; it waits there only a moment, and never raises OSError.

    A write to a full pipe waits until somebody reads it, and all requests and signals with it.
    Here it waits for PATIENCE, so that no line is lost to a reader that is busy. After that, lines
    are lost and counted until there is room: `report` makes the line that says how many. That there
    is trouble is one sentence on stderr. For one thread at a time, as handlers of logging are.
    """

    def __init__(self, stream: TextIO, report: Callable[[int], str]) -> None:
        self._stream, self._report = stream, report
        self._descriptor, self._encoding = stream.fileno(), stream.encoding or "utf-8"
        self._torn = b""  # the end of a line that was begun
        self._lost = 0  # lines
        self._patience, self._period_began = PATIENCE, monotonic()
        self._is_stuck = self._has_said = False

    def isatty(self) -> bool:
        """Return False: see `output_of`."""
        return False

    def write(self, text: str) -> None:
        """Write lines, after the number of those that were lost before."""
        data = text.encode(self._encoding, "backslashreplace")
        if self._has_told():
            self._lost += self._send(data)
        else:
            self._lost += data.count(b"\n")

    def flush(self) -> None:
        """Do nothing: `write` keeps nothing back."""

    def finish(self) -> None:
        """Tell how many lines were lost, on stderr if need be."""
        if not self._has_told():
            self._has_said = False
            self._say(f"{self._lost} lines are lost")
            self._lost = 0

    def _has_told(self) -> bool:
        """Write how many lines were lost, if any; return whether that could be done."""
        if lost := self._lost:
            if self._send(self._report(lost).encode(self._encoding)):
                return False
            self._lost -= lost
            self._has_said = False
        return True

    def _send(self, data: bytes) -> int:
        """Return how many lines were not written. One that was begun is ended first, later on.

        A signal's handler may log in the middle: it finds nothing of this in the attributes.
        """
        left, self._torn, is_begun = self._torn + data, b"", bool(self._torn)
        try:
            while left and not self._stream.closed:
                if not self._has_room():
                    self._say("nobody reads it")
                    break
                # As short as that they are written whole, and at once where there is room (POSIX).
                end = left.rfind(b"\n", 0, select.PIPE_BUF) + 1 or select.PIPE_BUF
                written = os.write(self._descriptor, left[:end])
                is_begun = left[written - 1 : written] != b"\n"
                left = left[written:]
        except OSError as error:
            self._say(str(error))
        if is_begun:
            end = left.find(b"\n") + 1 or len(left)
            self._torn, left = left[:end], left[end:]
        return left.count(b"\n")

    def _has_room(self) -> bool:
        """Wait for room as long as there is patience. Nobody is waited for twice in vain."""
        if _has_room(self._descriptor, 0):
            self._is_stuck = False
            return True
        began = monotonic()
        if began - self._period_began >= PERIOD:
            self._patience, self._period_began = PATIENCE, began
        if self._is_stuck or self._patience <= 0:
            return False
        found = _has_room(self._descriptor, self._patience)
        self._patience -= monotonic() - began
        self._is_stuck = not found
        return found

    def _say(self, why: str) -> None:
        if self._has_said:
            return
        self._has_said = True
        with suppress(OSError, ValueError, AttributeError):
            descriptor = sys.stderr.fileno()
            if _has_room(descriptor, 0):
                os.write(descriptor, f"The log cannot be written: {why}\n".encode())


def output_of(stream: TextIO, report: Callable[[int], str]) -> TextIO | Output:
    """Return the output in place of `stream`; itself for a terminal and for what is no file."""
    try:
        is_file = stream.fileno() >= 0 and not stream.isatty()
    except (OSError, ValueError):  # in memory, or closed
        is_file = False
    if not is_file or sys.platform == "win32":
        return stream
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(line_buffering=True)  # lines that are printed do not wait for the log's
    return Output(stream, report)


def _has_room(descriptor: int, seconds: float) -> bool:
    """Return whether PIPE_BUF bytes can be written at once, within so many seconds.

    It is also true when writing fails, and not when another process has taken the last room of the
    same pipe in between.
    """
    poll = select.poll()  # a new one: a signal's handler may ask while this waits
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))
