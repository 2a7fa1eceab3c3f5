"""Runs what a service does besides answering requests, such as the jobs of a queue."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from types import FrameType
from typing import Any

import asyncpg
import structlog
from fastapi import FastAPI
from structlog.contextvars import bound_contextvars
from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE
from uvicorn.lifespan.on import LifespanOn

from .data.dal import DataAccessLayer
from .database import NOT_READY, RETRY_INTERVAL
from .errors import DatabaseUnreachable
from .observe.logs import flush_requests
from .slack import SlackNotifier

__all__ = ["Worker", "run_worker"]

logger = structlog.get_logger(__name__)

_POOLED = (
    "A worker hears nothing through PgBouncer, which DATABASE_URL leads to: give it the address of "
    "PostgreSQL itself, and DATABASE_PGBOUNCER=false."
)
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Worker:
    """What the work has of the service: `dal`, and `stopping`, which is set when it is to end."""

    def __init__(self, app: FastAPI, dal: DataAccessLayer, stopping: asyncio.Event) -> None:
        self.dal = dal
        self.stopping = stopping
        told = [middleware.kwargs.get("notifier") for middleware in app.user_middleware]
        self._notifiers = [one for one in told if isinstance(one, SlackNotifier)]

    @asynccontextmanager
    async def listener(self) -> AsyncIterator[asyncpg.Connection]:
        """asyncpg's connection, not in a transaction, for a queue to LISTEN on.

        Raises RuntimeError where it does not lead straight to PostgreSQL. A pooler lets nobody know
        the process that serves the connection, which changes from transaction to transaction.
        """
        async with self.dal.engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            if driver.get_server_pid() != await driver.fetchval("SELECT pg_backend_pid()"):
                raise RuntimeError(_POOLED)
            try:
                yield driver
            finally:
                await connection.invalidate()  # it listens: it is of no use for others

    @contextmanager
    def job(
        self, name: str, *, expected: tuple[type[Exception], ...] = (), **context: Any
    ) -> Iterator[None]:
        """Put it around a job: log lines have `job` and `context`, and what the job raises alerts.

        The error is raised again, for the queue to log and to decide what becomes of the job.
        Those that are `expected` (a queue's own, to ask for another try) do not alert, and neither
        do those that do not in a request.
        """
        with bound_contextvars(job=name, **context):
            try:
                yield
            except expected:
                raise
            except Exception as error:
                about = " ".join([name, *(f"{key}={value}" for key, value in context.items())])
                for notifier in self._notifiers:
                    notifier.report({"job": about, "state": {"route": name}}, error)
                raise


def run_worker(
    app: FastAPI,
    work: Callable[[Worker], Awaitable[None]],
    *,
    timeout_graceful_shutdown: float = 30,
) -> None:
    """Run `work` within the lifespan of `app` until it returns, without serving anything.

    It begins when the database is there and migrated. SIGTERM and SIGINT set `stopping`, after
    SHUTDOWN_DELAY as in a server; then the work has `timeout_graceful_shutdown` seconds to return.
    At their end, and at a second signal, the process ends at once, as if it had been killed, with
    128 + the signal: a queue that hears of a cancelled job would not give it to another worker.
    Raises SystemExit, with 1 when the work raises, which alerts, and 3 when the lifespan does.
    """
    config = Config(app, lifespan="on", log_config=None)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        status = runner.run(_Run(app, config, work, timeout_graceful_shutdown).run())
    if status:
        sys.exit(status)


class _Run:
    """One run of a worker, from the first signal handler to the exit status."""

    def __init__(
        self,
        app: FastAPI,
        config: Config,
        work: Callable[[Worker], Awaitable[None]],
        patience: float,
    ) -> None:
        self._app = app
        self._stopping = asyncio.Event()
        self._lifespan = LifespanOn(config)
        self._work = work
        self._patience = patience
        self._signal = 0

    async def run(self) -> int:
        """Return the exit status."""
        loop = asyncio.get_running_loop()

        def handle(number: int, frame: FrameType | None) -> None:
            if self._signal:
                self._end()
            self._signal = number
            loop.call_soon_threadsafe(self._stopping.set)

        # Python's, and not the loop's: Shutdown, in the lifespan, is to find and to delay them.
        before = {number: signal.signal(number, handle) for number in _SIGNALS}
        try:
            return await self._within_lifespan()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def _within_lifespan(self) -> int:
        await self._lifespan.startup()
        if self._lifespan.should_exit:
            return STARTUP_FAILURE
        try:
            await self._until_database_is_ready()
            return 0 if self._stopping.is_set() else await self._until_stopped()
        finally:
            await self._lifespan.shutdown()

    async def _until_database_is_ready(self) -> None:
        """Return once it is, or when there is no more time for that."""
        database, said = self._lifespan.state.get("database"), ""
        while database is not None and not self._stopping.is_set():
            try:
                problem = await database.problem()
            except DatabaseUnreachable as error:
                problem = str(error)
            if not problem:
                return
            if problem != said:
                logger.warning(NOT_READY, reason=problem)
            said = problem
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), RETRY_INTERVAL)

    async def _until_stopped(self) -> int:
        """Return the exit status once the work has ended, or end the process."""
        worker = Worker(self._app, self._lifespan.state["dal"], self._stopping)
        work = asyncio.ensure_future(self._work(worker))
        stopped = asyncio.create_task(self._stopping.wait())
        logger.info("working")
        await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            logger.info("stopping", patience=self._patience)
            await asyncio.wait([work], timeout=self._patience)
        if not work.done():
            self._end()
        stopped.cancel()
        try:
            with worker.job("worker"):
                await work
        except Exception:
            logger.exception("the work has failed")
            return 1
        return 0

    def _end(self) -> None:
        logger.error("quitting, with work under way", signal=signal.Signals(self._signal).name)
        flush_requests()
        os._exit(128 + self._signal)
