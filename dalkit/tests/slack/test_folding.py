"""Storms: what is the same is told once, what is different is bounded."""

import asyncio
from collections.abc import Hashable

from fastapi import FastAPI
from structlog.testing import capture_logs

from dalkit.slack import SlackNotifier
from dalkit.slack.notifier import Seen

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
    assert "again" in at_the_end


async def test_200_texts_of_one_error_are_the_same_error(fake_slack: FakeSlack) -> None:
    """What an exception says is not looked at, so it makes no difference."""
    notifier = notifier_for(fake_slack.url)
    async with notifier, calling(storm(notifier)) as client:
        await client.get("/texts/0")
        await fake_slack.received(1)
        await asyncio.gather(*(client.get(f"/texts/{n}") for n in range(200)))
    _, at_the_end = fake_slack.texts
    assert "200 more" in at_the_end


def end_window(notifier: SlackNotifier, key: Hashable, seen: Seen) -> None:
    assert seen.timer is not None
    seen.timer.cancel()
    notifier._end_window(key, seen)


async def test_a_lasting_error_is_told_about_once_a_window_and_is_news_after_a_quiet_one(
    fake_slack: FakeSlack,
) -> None:
    notifier = notifier_for(fake_slack.url)
    async with notifier, calling(storm(notifier)) as client:
        await client.get("/same")
        await fake_slack.received(1)
        [(key, seen)] = notifier._seen.items()
        for told, repeats in ((2, 3), (3, 5)):
            await asyncio.gather(*(client.get("/same") for _ in range(repeats)))
            end_window(notifier, key, seen)
            assert f"{repeats} more times in the last 60 s" in str(
                (await fake_slack.received(told))[-1]
            )
        end_window(notifier, key, seen)
        assert notifier._seen == {}
        await client.get("/same")
    assert len(fake_slack.messages) == 4
    assert "again" not in fake_slack.texts[3]


async def test_a_window_ends_by_itself(fake_slack: FakeSlack) -> None:
    async with notifier_for(fake_slack.url, window=0.01) as notifier:
        notifier.report({"type": "http", "method": "GET"}, ValueError())
        assert len(notifier._seen) == 1
        async with asyncio.timeout(5):
            while notifier._seen:
                await asyncio.sleep(0.01)


async def test_errors_outside_the_owner_s_code_are_told_apart_by_their_routes(
    fake_slack: FakeSlack,
) -> None:
    """Otherwise every broken response model would be one error, in the framework."""
    notifier = notifier_for(fake_slack.url)
    app = alerting_app(notifier)
    for path in ("/one", "/other"):
        app.get(path, response_model=int)(lambda: "no number")
    async with notifier, calling(app) as client:
        for path in ("/one", "/other", "/one"):
            await client.get(path)
    assert ["GET /one" in text for text in fake_slack.texts][:2] == [True, False]
    assert len([text for text in fake_slack.texts if "again" not in text]) == 2


async def test_a_thousand_errors_are_remembered(fake_slack: FakeSlack) -> None:
    async with notifier_for(fake_slack.url, queue_size=2000) as notifier:
        for n in range(1500):
            notifier.report(
                {"type": "http", "method": "GET"}, type(f"Error{n}", (Exception,), {})()
            )
        assert len(notifier._seen) == 1000


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
