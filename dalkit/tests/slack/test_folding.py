"""Storms: what is the same is told once, what is different is bounded."""

import asyncio
from collections.abc import Callable

from fastapi import FastAPI
from structlog.testing import capture_logs

from dalkit.slack import SlackNotifier
from dalkit.slack.folding import Folding

from .apps import alerting_app, calling, notifier_for
from .fake_slack import Answer, FakeSlack


def storm(notifier: SlackNotifier) -> FastAPI:
    app = alerting_app(notifier)

    @app.get("/same")
    async def same() -> None:
        raise ValueError("always this")

    @app.get("/texts/{n}")
    async def texts(n: int) -> None:
        raise ValueError(f"number {n}")

    @app.get("/types/{n}")
    async def types(n: int) -> None:
        raise type(f"Error{n}", (Exception,), {})("another")

    return app


async def test_200_identical_errors_are_one_message_and_a_count(fake_slack: FakeSlack) -> None:
    notifier = notifier_for(fake_slack.url)
    async with notifier, calling(storm(notifier)) as client:
        await client.get("/same")
        await fake_slack.received(1)
        await asyncio.gather(*(client.get("/same") for _ in range(199)))
        assert len(fake_slack.messages) == 1
    _, at_the_end = fake_slack.texts
    assert "199 more" in at_the_end


class Alarms:
    """Stands in for `loop.call_later`: `ring()` is the end of a window."""

    def __init__(self) -> None:
        self.set: list[Callable[[], None]] = []

    def __call__(self, seconds: float, ring: Callable[[], None]) -> "Alarms":
        self.set.append(ring)
        return self

    def cancel(self) -> None:
        self.set.clear()

    def ring(self) -> None:
        ringing, self.set = self.set, []
        for alarm in ringing:
            alarm()


def test_a_lasting_error_is_told_about_once_a_window() -> None:
    alarms, told = Alarms(), list[int]()
    folding = Folding(60, lambda entry: told.append(entry.take()), alarms)
    folding.open("key", 0)
    for repeats in (3, 5):
        for _ in range(repeats):
            assert folding.repeated("key", 0)
        alarms.ring()
    assert told == [3, 5]


def test_after_a_quiet_window_an_error_is_news() -> None:
    alarms, told = Alarms(), list[int]()
    folding = Folding(60, lambda entry: told.append(entry.take()), alarms)
    folding.open("key", 0)
    alarms.ring()
    assert not folding.repeated("key", 0)
    assert told == []
    assert alarms.set == []


def test_closing_tells_what_was_not_told() -> None:
    alarms, told = Alarms(), list[int]()
    folding = Folding(60, lambda entry: told.append(entry.take()), alarms)
    folding.open("quiet", 0)
    folding.open("loud", 0)
    folding.repeated("loud", 0)
    folding.close()
    assert told == [1]
    assert alarms.set == []


def test_a_thousand_errors_are_remembered() -> None:
    folding = Folding(60, lambda entry: None, Alarms())
    for number in range(1500):
        folding.open(number, 0)
    assert folding.repeated(999, 0)
    assert not folding.repeated(1000, 0)


async def test_200_texts_of_one_error_are_a_few_messages(fake_slack: FakeSlack) -> None:
    notifier = notifier_for(fake_slack.url)
    async with notifier, calling(storm(notifier)) as client:
        await asyncio.gather(*(client.get(f"/texts/{n}") for n in range(200)))
    assert 2 <= len(fake_slack.messages) <= 6


async def test_200_distinct_errors_fill_the_queue_and_the_rest_is_counted(
    fake_slack: FakeSlack,
) -> None:
    fake_slack.answer = Answer(delay=0.3)  # the storm is over before the first one is through
    notifier = notifier_for(fake_slack.url, queue_size=10)
    assert notifier.delivery is not None
    async with notifier, calling(storm(notifier)) as client:
        with capture_logs() as logs:
            responses = await asyncio.gather(*(client.get(f"/types/{n}") for n in range(200)))
        fake_slack.closing.set()
    assert {response.status_code for response in responses} == {500}
    dropped = notifier.delivery.alerts.dropped
    assert dropped + len(fake_slack.messages) == 200
    assert 189 <= dropped <= 190
    assert "slack_messages_dropped" in [line["event"] for line in logs]
    assert any("were dropped" in text for text in fake_slack.texts)
