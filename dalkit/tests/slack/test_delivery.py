"""How messages are sent: one worker, one a second, patient where it helps."""

import asyncio
from dataclasses import replace
from email.utils import formatdate
from itertools import pairwise
from time import monotonic, time

import httpx
import pytest
import structlog
from structlog.testing import capture_logs

from dalkit.slack.delivery import STEADY, Delivery, Job, Payload, retry_after

from .apps import QUICK
from .fake_slack import Answer, FakeSlack


def job(text: str = "a message") -> Job:
    async def payload() -> Payload:
        return {"text": text}

    return Job(payload)


def test_the_steady_pace_is_slack_s() -> None:
    """One message a second per webhook (Slack, "Rate limits"); 5 s to drain."""
    assert (STEADY.interval, STEADY.drain) == (1.0, 5.0)


async def test_messages_keep_their_distance(fake_slack: FakeSlack) -> None:
    times: list[float] = []

    async def timed() -> Payload:
        times.append(monotonic())
        return {"text": "a message"}

    delivery = Delivery(fake_slack.url, replace(QUICK, interval=0.05, drain=10))
    for _ in range(4):
        delivery.put(Job(timed), delivery.alerts)
    await delivery.stop()
    assert len(times) == 4
    assert min(later - earlier for earlier, later in pairwise(times)) > 0.045


async def test_alerts_go_before_reports(fake_slack: FakeSlack) -> None:
    delivery = Delivery(fake_slack.url, QUICK)
    for n in range(3):
        delivery.put(job(f"report {n}"), delivery.reports)
        delivery.put(job(f"alert {n}"), delivery.alerts)
    await delivery.stop()
    assert [message["text"].split()[0] for message in fake_slack.messages] == 3 * ["alert"] + 3 * [
        "report"
    ]


async def test_reports_cannot_take_the_place_of_alerts(fake_slack: FakeSlack) -> None:
    delivery = Delivery(fake_slack.url, QUICK, alerts=2, reports=2)
    with capture_logs() as logs:
        taken = [delivery.put(job(), delivery.reports) for _ in range(10)]
    assert taken == [True, True] + 8 * [False]
    assert delivery.put(job(), delivery.alerts)
    assert (delivery.reports.dropped, delivery.alerts.dropped) == (8, 0)
    assert [line["total"] for line in logs] == [1, 2, 4, 8]
    await delivery.stop()


@pytest.mark.parametrize(("status", "tries"), [(500, 3), (503, 3), (429, 3)])
async def test_a_broken_slack_is_tried_again(
    fake_slack: FakeSlack, status: int, tries: int
) -> None:
    fake_slack.answer = Answer(status)
    delivery = Delivery(fake_slack.url, QUICK)
    delivery.put(job(), delivery.alerts)
    await delivery.stop()
    assert len(fake_slack.messages) == tries
    assert (delivery.sent, delivery.failed) == (0, 1)


@pytest.mark.parametrize("status", [302, 400, 403, 404, 410])
async def test_a_refusal_is_final(fake_slack: FakeSlack, status: int) -> None:
    fake_slack.answer = Answer(status, {"Location": fake_slack.url})
    delivery = Delivery(fake_slack.url, QUICK)
    with capture_logs() as logs:
        delivery.put(job(), delivery.alerts)
        await delivery.stop()
    assert len(fake_slack.messages) == 1
    assert {"event": "slack_message_not_delivered", "status": status, "log_level": "error"} in logs


async def test_it_recovers_with_the_slack_that_it_serves(fake_slack: FakeSlack) -> None:
    fake_slack.answers = [Answer(500), Answer(429, {"Retry-After": "0"})]
    delivery = Delivery(fake_slack.url, QUICK)
    delivery.put(job(), delivery.alerts)
    await delivery.stop()
    assert (delivery.sent, delivery.failed) == (1, 0)


async def test_a_hanging_slack_does_not_stop_the_worker(fake_slack: FakeSlack) -> None:
    fake_slack.answers = [Answer(delay=60)]
    delivery = Delivery(fake_slack.url, replace(QUICK, timeout=0.5, tries=1))
    for text in ("lost", "sent"):
        delivery.put(job(text), delivery.alerts)
    await delivery.stop()
    assert (delivery.sent, delivery.failed) == (1, 1)


async def test_a_giant_answer_is_not_read(fake_slack: FakeSlack) -> None:
    """Whatever the webhook leads to: the sockets' buffers are all that it fills."""
    fake_slack.answer = Answer(size=400)
    delivery = Delivery(fake_slack.url, QUICK)
    delivery.put(job(), delivery.alerts)
    await delivery.stop()
    assert (delivery.sent, delivery.failed) == (1, 0)
    assert fake_slack.taken < 100


async def test_its_lines_are_not_those_of_the_request_that_it_starts_with(
    fake_slack: FakeSlack,
) -> None:
    fake_slack.answer = Answer(404)
    delivery = Delivery(fake_slack.url, QUICK)
    with capture_logs([structlog.contextvars.merge_contextvars]) as logs:
        with structlog.contextvars.bound_contextvars(request_id="first"):
            delivery.put(job(), delivery.alerts)
        await delivery.stop()
    assert [line.get("request_id") for line in logs] == [None]


async def test_a_message_that_cannot_be_made_does_not_stop_the_worker(
    fake_slack: FakeSlack,
) -> None:
    async def broken() -> Payload:
        raise ZeroDivisionError

    delivery = Delivery(fake_slack.url, QUICK)
    delivery.put(Job(broken), delivery.alerts)
    delivery.put(job(), delivery.alerts)
    await delivery.stop()
    assert (delivery.sent, delivery.failed) == (1, 1)


async def test_stopping_sends_what_is_queued(fake_slack: FakeSlack) -> None:
    delivery = Delivery(fake_slack.url, QUICK)
    for _ in range(10):
        delivery.put(job(), delivery.alerts)
    await delivery.stop()
    assert len(fake_slack.messages) == 10


async def test_it_can_be_used_again_after_stopping(fake_slack: FakeSlack) -> None:
    """An app may run its lifespan more than once: tests do."""
    delivery = Delivery(fake_slack.url, QUICK)
    for _ in range(2):
        assert delivery.put(job(), delivery.alerts)
        await delivery.stop()
    assert delivery.sent == 2


async def test_stopping_takes_no_longer_than_allowed(fake_slack: FakeSlack) -> None:
    fake_slack.answer = Answer(429, {"Retry-After": "30"})
    delivery = Delivery(fake_slack.url, replace(QUICK, drain=0.2))
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    delivery.put(job(), delivery.alerts)
    delivery.put(Job(job().payload, done), delivery.alerts)
    await fake_slack.received(1)
    started = monotonic()
    with capture_logs() as logs:
        stopping = asyncio.create_task(delivery.stop())
        await asyncio.sleep(0.01)
        assert not delivery.put(job(), delivery.alerts)
        await stopping
    assert monotonic() - started < 30 / 2  # half of what Slack asks for
    assert {"event": "slack_messages_not_sent", "total": 1, "log_level": "warning"} in logs
    assert await done == 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("86400", 30.0),
        ("1e300", 30.0),
        ("-1", 2.0),
        ("nan", 2.0),
        ("inf", 2.0),
        ("soon", 2.0),
        ("", 2.0),
        ("Wed, 99 Foo 2020", 2.0),
        ("Mon, 01 Jan 1990 00:00:00 GMT", 2.0),
    ],
)
def test_retry_after_is_followed_as_far_as_it_makes_sense(value: str, seconds: float) -> None:
    response = httpx.Response(429, headers={"Retry-After": value})
    assert retry_after(response, default=2.0) == seconds


def test_retry_after_may_be_a_date() -> None:
    response = httpx.Response(429, headers={"Retry-After": formatdate(time() + 12, usegmt=True)})
    assert 8 < retry_after(response, default=2.0) <= 12
