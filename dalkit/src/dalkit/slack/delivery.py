"""The queue in front of Slack and the one worker that empties it."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import httpx
import structlog

from .webhook import Payload, is_worth_a_retry, open_client, post, retry_after

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast and how stubbornly messages are sent. Seconds."""

    interval: float = 1.0  # Slack allows one message a second per webhook
    timeout: float = 5.0
    tries: int = 3
    pause: float = 1.0  # before the second try; doubled before each further one
    drain: float = 5.0


STEADY = Pace()


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A message to send; `payload` is called at that moment. `done` gets the HTTP status or 0."""

    payload: Callable[[], Payload]
    done: asyncio.Future[int] | None = None


class Lane:
    """A bounded queue of jobs that counts what it turns away."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.jobs: deque[Job] = deque()
        self.dropped = 0

    @property
    def is_full(self) -> bool:
        """Tell whether the next job would be dropped."""
        return len(self.jobs) >= self.capacity

    def drop(self) -> None:
        """Count a job that found no place; every power of two is logged, a storm is not."""
        self.dropped += 1
        if self.dropped & (self.dropped - 1) == 0:
            logger.warning("slack_messages_dropped", total=self.dropped, capacity=self.capacity)


class Delivery:
    """Sends jobs to one webhook, alerts before forwarded reports.

    Start it inside the event loop; `stop` sends what is queued, for `pace.drain` seconds at most.
    """

    def __init__(self, url: str, pace: Pace, *, alerts: int = 100, reports: int = 20) -> None:
        self.alerts = Lane(alerts)
        self.reports = Lane(reports)
        self.sent = 0
        self.failed = 0
        self._url = url
        self._pace = pace
        self._wake = asyncio.Event()
        self._stopping = False
        self._worker: asyncio.Task[None] | None = None

    def put(self, job: Job, lane: Lane) -> bool:
        """Queue the job and return True, or count it as dropped. Never waits."""
        if self._stopping or lane.is_full:
            lane.drop()
            return False
        lane.jobs.append(job)
        self._wake.set()
        return True

    def start(self) -> None:
        """Start the worker, unless it runs; it can be started again after `stop`."""
        if self._worker is None:
            self._stopping, self._wake = False, asyncio.Event()
            self._worker = asyncio.create_task(self._work(), name="slack-delivery")

    async def stop(self) -> None:
        """Send what is queued, for `drain` seconds at most, and log how much is left."""
        self._stopping = True
        self._wake.set()
        if self._worker is not None:
            await asyncio.wait([self._worker], timeout=self._pace.drain)
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
            self._worker = None
        left = [*self.alerts.jobs, *self.reports.jobs]
        self.alerts.jobs.clear()
        self.reports.jobs.clear()
        for job in left:
            _resolve(job, 0)
        if left:
            logger.warning("slack_messages_not_sent", total=len(left))

    async def _work(self) -> None:
        async with open_client(self._pace.timeout) as client:
            while job := await self._next():
                started = monotonic()
                await self._send(client, job)
                await asyncio.sleep(max(0.0, started + self._pace.interval - monotonic()))

    async def _next(self) -> Job | None:
        while True:
            for lane in (self.alerts, self.reports):
                if lane.jobs:
                    return lane.jobs.popleft()
            if self._stopping:
                return None
            self._wake.clear()
            await self._wake.wait()

    async def _send(self, client: httpx.AsyncClient, job: Job) -> None:
        """Send one job; whatever goes wrong is counted and logged, and the worker lives on."""
        status = 0
        try:
            status = await self._try(client, job.payload())
        except Exception as exc:  # noqa: BLE001
            # Logged without the text: httpx's carry the webhook's URL.
            logger.error("slack_message_failed", error=type(exc).__name__)
        finally:
            _resolve(job, status)
        if status == 200:
            self.sent += 1
        else:
            self.failed += 1
            logger.error("slack_message_not_delivered", status=status)

    async def _try(self, client: httpx.AsyncClient, payload: Payload) -> int:
        """Return Slack's last status, or 0 when it never answered."""
        response = None
        for attempt in range(self._pace.tries):
            if attempt:
                pause = self._pace.pause * 2 ** (attempt - 1)
                await asyncio.sleep(retry_after(response, pause))
            try:
                response = await post(client, self._url, payload)
            except (httpx.HTTPError, TimeoutError):
                response = None
                continue
            if not is_worth_a_retry(response):
                break
        return response.status_code if response is not None else 0


def _resolve(job: Job, status: int) -> None:
    if job.done is not None and not job.done.done():
        job.done.set_result(status)
