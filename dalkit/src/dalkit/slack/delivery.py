"""The queue in front of Slack, the one worker that empties it, and the webhook it posts to."""

import asyncio
import json
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from contextvars import Context
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from time import monotonic, time
from typing import Any
from weakref import ref

import httpx
import structlog
from opentelemetry.metrics import Observation, get_meter
from pydantic import BaseModel

from ..outgoing import check_outgoing, tls

logger = structlog.get_logger(__name__)

Payload = dict[str, Any]
_TIMEOUT = 5.0
_LONGEST_WAIT = 30.0
_LONGEST_ANSWER = 16 * 1024  # bytes that are read; Slack's are a word


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast and how stubbornly messages are sent. Seconds."""

    interval: float = 1.0  # Slack allows one message a second per webhook
    timeout: float = _TIMEOUT
    tries: int = 3
    pause: float = 1.0  # before the second try; doubled before each further one
    drain: float = 5.0


STEADY = Pace()


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A message to send; `payload` makes it at that moment. `done` gets the HTTP status or 0."""

    payload: Callable[[], Awaitable[Payload]]
    done: asyncio.Future[int] = field(default_factory=asyncio.Future)

    def finish(self, status: int) -> None:
        if not self.done.done():  # who waits for it may have given up
            self.done.set_result(status)


@dataclass(slots=True, eq=False)
class Lane:
    """A bounded queue of jobs that counts what it turns away."""

    capacity: int
    jobs: deque[Job] = field(default_factory=deque)
    dropped: int = 0


class Delivery:
    """Makes messages, alerts before forwarded reports, and sends them to a webhook if any."""

    def __init__(self, url: str | None, pace: Pace, alerts: int = 100, reports: int = 20) -> None:
        self.alerts, self.reports = Lane(alerts), Lane(reports)
        self.sent = self.failed = 0
        self.url, self._pace = url, pace
        if url:
            check_outgoing()  # it also makes what takes a while, not in front of an alert
        self._stopping = False
        self._worker: asyncio.Task[None] | None = None

    def accepts(self, lane: Lane) -> bool:
        """Tell whether the lane has room for a job; one that finds none is counted as dropped."""
        if not self._stopping and len(lane.jobs) < lane.capacity:
            return True
        lane.dropped += 1
        if lane.dropped.bit_count() == 1:  # every power of two: a storm is not logged
            logger.warning("slack_messages_dropped", total=lane.dropped, capacity=lane.capacity)
        return False

    def put(self, job: Job, lane: Lane) -> bool:
        """Queue the job and return True, or count it as dropped. Never waits."""
        if not self.accepts(lane):
            return False
        lane.jobs.append(job)
        if self._worker is None or self._worker.done():
            # Not in the context of the request that it starts with: it outlives that, and its log
            # lines and spans would be that request's.
            self._worker = asyncio.create_task(self._work(), context=Context())
        return True

    async def stop(self) -> None:
        """Send what is queued, for `pace.drain` seconds at most, and log how much is left.

        Nothing is taken meanwhile; afterwards it can be used again.
        """
        self._stopping = True
        if self._worker is not None:
            await asyncio.wait([self._worker], timeout=self._pace.drain)
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        if left := len(self.alerts.jobs) + len(self.reports.jobs):
            logger.warning("slack_messages_not_sent", total=left)
        while jobs := self.alerts.jobs or self.reports.jobs:
            jobs.popleft().finish(0)
        self._stopping = False

    async def _work(self) -> None:
        while self.alerts.jobs or self.reports.jobs:  # again: some may come while it is closed
            async with httpx.AsyncClient(verify=tls(), timeout=self._pace.timeout) as client:
                while jobs := self.alerts.jobs or self.reports.jobs:
                    started = monotonic()
                    await self._send(client, jobs.popleft())
                    await asyncio.sleep(max(0.0, started + self._pace.interval - monotonic()))

    async def _send(self, client: httpx.AsyncClient, job: Job) -> None:
        """Send one job; whatever goes wrong is counted and logged, and the worker lives on."""
        status = 0
        try:
            status = await self._try(client, await job.payload())
        except Exception as exc:  # noqa: BLE001
            # Logged without the text: httpx's carry the webhook's URL.
            logger.error("slack_message_failed", error=type(exc).__name__)
        finally:
            job.finish(status)
        if status == 200:
            self.sent += 1
        else:
            self.failed += 1
            logger.error("slack_message_not_delivered", status=status)

    async def _try(self, client: httpx.AsyncClient, payload: Payload) -> int:
        """Return Slack's last status, or 0 when it did not answer."""
        if self.url is None:  # others have read it
            return 200
        status, wait = 0, 0.0
        for number in range(self._pace.tries):
            await asyncio.sleep(wait)
            status, wait = 0, self._pace.pause * 2**number
            with suppress(httpx.HTTPError, TimeoutError):
                response = await _post(client, self.url, payload)
                status, wait = response.status_code, retry_after(response, wait)
            if 0 < status < 500 and status != 429:  # which no retry changes
                break
        return status


async def send_slack_message(
    url: str,
    *,
    blocks: Sequence[BaseModel | Payload],
    text: str | None = None,
    client: httpx.AsyncClient | None = None,
) -> httpx.Response:
    """Send blocks (dicts, or a SlackLogger's models) at once and return Slack's answer.

    Dicts are sent as they are: escape what users typed into them. `text` is what notifications
    show. Raises httpx.HTTPError or TimeoutError when Slack cannot be reached.
    """
    plain = [b.model_dump(exclude_none=True) if isinstance(b, BaseModel) else b for b in blocks]
    payload: Payload = {"blocks": plain} | ({} if text is None else {"text": text})
    async with nullcontext(client) if client else httpx.AsyncClient(timeout=_TIMEOUT) as it:
        return await _post(it, url, payload)


async def _post(client: httpx.AsyncClient, url: str, payload: Payload) -> httpx.Response:
    """Post once, in three times the client's timeout: httpx's is per read, a server may drip.

    Of the answer's body the beginning is kept, as it was sent.
    """
    content = json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace")
    headers = {"content-type": "application/json", "accept-encoding": "identity"}
    asked = client.stream("POST", url, content=content, headers=headers)
    async with asyncio.timeout(3 * (client.timeout.read or _TIMEOUT)), asked as answer:
        body = await anext(answer.aiter_raw(_LONGEST_ANSWER), b"")
        answer.headers.pop("content-encoding", None)
        status, request = answer.status_code, answer.request
        return httpx.Response(status, headers=answer.headers, content=body, request=request)


def retry_after(response: httpx.Response, default: float) -> float:
    """Return how many seconds to wait: Retry-After if it makes sense (RFC 9110, 10.2.3), capped."""
    value, seconds = response.headers.get("retry-after", ""), math.nan
    with suppress(ValueError, TypeError, OverflowError):
        seconds = parsedate_to_datetime(value).timestamp() - time()
    with suppress(ValueError):
        seconds = float(value)
    return min(seconds, _LONGEST_WAIT) if 0 <= seconds < math.inf else default


def observe_delivery(delivery: Delivery, provider: Any = None) -> None:
    """Export the queue's length and what became of the messages, without a hold of `delivery`."""
    alive = ref(delivery)

    def lengths(_: Any) -> Iterator[Observation]:
        if it := alive():
            yield Observation(len(it.alerts.jobs), {"slack.lane": "alert"})
            yield Observation(len(it.reports.jobs), {"slack.lane": "report"})

    def outcomes(_: Any) -> Iterator[Observation]:
        if it := alive():
            dropped = it.alerts.dropped + it.reports.dropped
            for outcome, count in (("sent", it.sent), ("failed", it.failed), ("dropped", dropped)):
                yield Observation(count, {"slack.outcome": outcome})

    meter = get_meter(__name__, meter_provider=provider)
    meter.create_observable_gauge("slack.queue.length", [lengths], unit="{message}")
    meter.create_observable_counter("slack.messages", [outcomes], unit="{message}")
