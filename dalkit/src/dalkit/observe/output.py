"""Where the lines of the log go: to a pipe, a socket or a file, which no request waits for."""

import os
import select
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from threading import RLock, Thread
from time import sleep
from typing import TextIO

#: Bytes of lines that wait for who does not take them; beyond that, lines are lost and counted.
MOST = 1_000_000
#: Seconds that the end of the process waits for who does not take them.
GRACE = 1.0
#: Seconds between two attempts to write what waits.
_PAUSE = 0.05


class Output:
    """Writes to what `stream` is open on; it never waits there, and never raises OSError.

    A write to a full pipe waits until somebody reads it, and all requests and signals with it.
    Here, such lines wait in memory for a thread. `report` makes the line that says how many were
    lost; that there is trouble is one sentence on stderr.
    """

    def __init__(self, stream: TextIO, report: Callable[[int], str]) -> None:
        self._stream, self._report = stream, report
        self._descriptor, self._encoding = stream.fileno(), stream.encoding or "utf-8"
        self._has_room = _asking_for_room(self._descriptor)
        self._waiting: deque[bytes] = deque()
        self._size = 0  # bytes of what waits
        self._lost = 0  # lines
        self._has_said = self._is_writing = False
        self._later: Thread | None = None
        self._lock = RLock()

    def isatty(self) -> bool:
        """Return False: see `output_of`."""
        return False

    def write(self, text: str) -> None:
        """Write lines, or have them written as soon as that is possible."""
        data = text.encode(self._encoding, "backslashreplace")
        # Pieces that are as short as that are written whole, and at once where there is room.
        lines = [data] if len(data) <= select.PIPE_BUF else data.splitlines(keepends=True)
        with self._lock:
            for line in lines:
                self._add(line)
            # A signal's handler, which can come while this writes, and is in this thread, adds.
            if not (self._later or self._is_writing or self._write_waiting()):
                later = Thread(target=self._write_later, name="log", daemon=True)
                with suppress(RuntimeError):  # there is none to be had: the next line tries again
                    later.start()
                    self._later = later

    def flush(self) -> None:
        """Do nothing: `write` does all that can be done."""

    def finish(self) -> None:
        """Wait until all is written, but not longer than GRACE."""
        if later := self._later:
            later.join(GRACE)

    def _add(self, line: bytes) -> None:
        if self._size + len(line) > MOST:
            self._lost += line.count(b"\n")
            self._say("nobody reads it")
        else:
            pieces = range(0, len(line), select.PIPE_BUF)
            self._waiting += [line[at : at + select.PIPE_BUF] for at in pieces]
            self._size += len(line)

    def _write_later(self) -> None:
        while True:
            self._has_room(1000)
            sleep(_PAUSE)
            with self._lock:
                if self._write_waiting():
                    self._later, self._has_said = None, False
                    return

    def _write_waiting(self) -> bool:
        """Write as much as is taken; return whether that was all."""
        self._is_writing = True
        try:
            while self._waiting and not self._stream.closed:
                if not self._has_room(0):
                    return False
                self._write_first()
                if not self._waiting and self._lost:
                    lost, self._lost = self._lost, 0
                    self._add(self._report(lost).encode(self._encoding))
        except OSError as error:
            self._say(str(error))
            return False
        finally:
            self._is_writing = False
        return True

    def _write_first(self) -> None:
        piece = self._waiting[0]
        written = os.write(self._descriptor, piece)
        self._size -= written
        if written < len(piece):
            self._waiting[0] = piece[written:]
        else:
            self._waiting.popleft()

    def _say(self, why: str) -> None:
        if self._has_said:
            return
        self._has_said = True
        with suppress(OSError, ValueError, AttributeError):
            descriptor = sys.stderr.fileno()
            if _asking_for_room(descriptor)(0):
                sentence = f"The log cannot be written, its lines wait or are lost: {why}\n"
                os.write(descriptor, sentence.encode())


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


def _asking_for_room(descriptor: int) -> Callable[[float], object]:
    """Return what tells within so many milliseconds whether PIPE_BUF bytes are written at once.

    It is also true when writing fails, and not when another process has taken the last room of the
    same pipe in between.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return poll.poll
