"""A worker within the lifespan of its app, in this process, with signals that are real."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.middleware import Middleware
from starlette.exceptions import HTTPException
from structlog.contextvars import get_contextvars
from structlog.testing import capture_logs

from dalkit import DataAccessLayer, DatabaseUnreachable
from dalkit.slack import AlertMiddleware, SlackNotifier
from dalkit.web import Shutdown
from dalkit.worker import Worker, run_worker

from tests.slack.apps import notifier_for
from tests.slack.fake_slack import FakeSlack

Steps = list[object]


class Database:
    """Is what its problems say, one after the other."""

    def __init__(self, *problems: str | Exception) -> None:
        self.problems = list(problems)

    async def problem(self) -> str:
        """The next problem."""
        problem = self.problems.pop(0) if self.problems else ""
        if isinstance(problem, Exception):
            raise problem
        return problem


def app_with(
    steps: Steps,
    *,
    database: Database | None = None,
    notifier: SlackNotifier | None = None,
    delay: float = 0,
) -> FastAPI:
    """An app whose lifespan says when it begins and ends."""
    notifier = notifier or SlackNotifier(None)
    dal = DataAccessLayer()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with Shutdown(delay), notifier:
            steps.append("begins")
            yield {"dal": dal, "database": database}
            steps.append("ends")

    return FastAPI(lifespan=lifespan, middleware=[Middleware(AlertMiddleware, notifier=notifier)])


def told(number: signal.Signals = signal.SIGTERM) -> None:
    """Send this process a signal."""
    os.kill(os.getpid(), number)


def test_the_work_is_within_the_lifespan() -> None:
    steps: Steps = []

    async def work(worker: Worker) -> None:
        steps.append(type(worker.dal))

    before = signal.getsignal(signal.SIGTERM)
    run_worker(app_with(steps), work)
    assert steps == ["begins", DataAccessLayer, "ends"]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("delay", [0, 0.05])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_work_finish(number: signal.Signals, delay: float) -> None:
    steps: Steps = []

    async def work(worker: Worker) -> None:
        told(number)
        await worker.stopping.wait()
        await asyncio.sleep(0.05)
        steps.append("finished")

    run_worker(app_with(steps, delay=delay), work)
    assert steps == ["begins", "finished", "ends"]


@pytest.mark.parametrize("impatient", [False, True])
def test_work_that_does_not_finish_ends_with_the_process(
    impatient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of its patience or at a second signal; it is not cancelled before."""
    steps: Steps = []

    def exit_at_once(status: int) -> None:
        steps.append(status)
        raise SystemExit

    monkeypatch.setattr(os, "_exit", exit_at_once)

    async def work(worker: Worker) -> None:
        told()
        await worker.stopping.wait()
        if impatient:
            told()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            steps.append("cancelled")

    with pytest.raises(SystemExit):
        run_worker(app_with(steps), work, timeout_graceful_shutdown=600 if impatient else 0.1)
    assert steps[:2] == ["begins", 128 + signal.SIGTERM]


def test_work_that_fails_alerts_and_is_status_1(fake_slack: FakeSlack) -> None:
    steps: Steps = []

    async def work(_: Worker) -> None:
        raise LookupError

    with pytest.raises(SystemExit) as end, capture_logs() as logs:
        run_worker(app_with(steps, notifier=notifier_for(fake_slack.url)), work)
    assert (end.value.code, steps) == (1, ["begins", "ends"])
    assert "LookupError" in fake_slack.texts[0]
    assert "the work has failed" in [line["event"] for line in logs]


def test_a_lifespan_that_fails_is_status_3() -> None:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        raise LookupError
        yield

    with pytest.raises(SystemExit) as end:
        run_worker(FastAPI(lifespan=lifespan), lambda _: pytest.fail("it has begun"))
    assert end.value.code == 3


def test_the_work_waits_for_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reason is logged once."""
    monkeypatch.setattr("dalkit.worker.RETRY_INTERVAL", 0.01)
    away = DatabaseUnreachable("It is away.")
    database, steps = Database(away, away, "It is not migrated."), list[object]()

    async def work(_: Worker) -> None:
        steps.append(len(database.problems))

    with capture_logs() as logs:
        run_worker(app_with(steps, database=database), work)
    assert steps == ["begins", 0, "ends"]
    reasons = [line["reason"] for line in logs if "reason" in line]
    assert reasons == ["It is away.", "It is not migrated."]


def test_a_signal_ends_the_waiting() -> None:
    class Away(Database):
        async def problem(self) -> str:
            told()
            return "It is away."

    steps: Steps = []
    run_worker(app_with(steps, database=Away()), lambda _: pytest.fail("it has begun"))
    assert steps == ["begins", "ends"]


def test_the_error_of_a_job_alerts_with_its_name(fake_slack: FakeSlack) -> None:
    """But not what is expected of it, or in requests; the error goes on to the queue."""
    seen: list[dict[str, Any]] = []

    async def work(worker: Worker) -> None:
        for error in (KeyError(), HTTPException(409), LookupError()):
            job = worker.job("count", expected=(KeyError,), job_id=7)
            with pytest.raises(type(error)), job:
                seen.append(get_contextvars())
                raise error
        seen.append(get_contextvars())

    run_worker(app_with([], notifier=notifier_for(fake_slack.url)), work)
    assert seen == [{"job": "count", "job_id": 7}] * 3 + [{}]
    [alert] = fake_slack.texts
    assert "LookupError" in alert
    assert "*Job*\\ncount job_id=7" in alert
    assert "*Request*" not in alert
    assert "*Status*" not in alert
