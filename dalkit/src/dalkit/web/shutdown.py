"""Lets the load balancer look away before the server stops listening."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

import structlog

logger = structlog.get_logger(__name__)

Handler = Callable[[int, FrameType | None], object]
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# How long a server that was told to hurry may take before it is ended.
_PATIENCE = 3.0


class Shutdown:
    """Delays the server's own shutdown by `delay` seconds, in which `draining` is true.

    Put it around the lifespan. On the first SIGTERM or SIGINT /readyz turns to 503; `delay` later
    the server gets its signal, closes the listener and waits for the requests under way. A second
    signal skips the delay and the waiting; a worker's parent has one SIGTERM that does not. Works
    with any server that installed Python signal handlers before the lifespan starts, as uvicorn
    does; elsewhere (tests) it does nothing.
    """

    def __init__(self, delay: float) -> None:
        self.draining = False
        self._delay = delay
        self._is_parents_due = False
        self._previous: dict[int, Handler] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        # SIGINT always has a Python handler; only a server gives SIGTERM one.
        if callable(signal.getsignal(signal.SIGTERM)):
            # The parent of workers tells each of them that it was told to stop. A terminal's Ctrl-C
            # and systemd signal the whole process group: a worker hears of the same stop twice.
            # Not known earlier: `dalkit run` has the app imported before the process is a worker.
            self._is_parents_due = multiprocessing.parent_process() is not None
            self._loop = asyncio.get_running_loop()
            for number in _SIGNALS:
                self._take_over(number)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)

    def _take_over(self, number: int) -> None:
        previous = signal.getsignal(number)
        if not callable(previous):
            return
        try:
            signal.signal(number, self._handle)
        except ValueError:  # not in the main thread: whoever is there has the signals
            return
        self._previous[number] = previous

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._loop is None:
            return
        second, self.draining = self.draining, True
        if second and number == signal.SIGTERM and self._is_parents_due:
            self._is_parents_due = False
            return
        step = self._quit if second else self._drain
        self._loop.call_soon_threadsafe(step, number)

    def _drain(self, number: int) -> None:
        logger.info("draining", signal=signal.Signals(number).name, delay=self._delay)
        asyncio.get_running_loop().call_later(self._delay, self._pass_on, number)

    def _quit(self, number: int) -> None:
        logger.warning("quitting", signal=signal.Signals(number).name)
        self._pass_on(number)
        # uvicorn takes SIGINT, while it is shutting down, for "do not wait any longer".
        self._pass_on(signal.SIGINT)
        asyncio.get_running_loop().call_later(_PATIENCE, os._exit, 128 + number)

    def _pass_on(self, number: int) -> None:
        self._previous[number](number, None)
