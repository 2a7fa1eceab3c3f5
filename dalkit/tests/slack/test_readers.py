"""Others get the alerts besides Slack, or instead of it."""

from typing import Any

from fastapi import FastAPI
from structlog.testing import capture_logs

from dalkit.slack import SlackNotifier, slack_router

from .apps import alerting_app, calling, notifier_for
from .fake_slack import FakeSlack


class Pager:
    """Keeps what it reads."""

    def __init__(self) -> None:
        self.read: list[dict[str, Any]] = []

    async def __call__(self, alert: dict[str, Any]) -> None:
        self.read.append(alert)


def broken_app(notifier: SlackNotifier) -> FastAPI:
    app = alerting_app(notifier)

    @app.get("/broken")
    async def broken() -> None:
        raise LookupError

    return app


async def failing(alert: dict[str, Any]) -> None:
    raise ConnectionError


async def test_a_reader_gets_what_slack_gets(fake_slack: FakeSlack) -> None:
    pager = Pager()
    async with (
        notifier_for(fake_slack.url, readers=[pager]) as notifier,
        calling(broken_app(notifier)) as client,
    ):
        assert (await client.get("/broken")).status_code == 500
    assert pager.read == fake_slack.messages
    assert "LookupError" in pager.read[0]["text"]


async def test_a_reader_needs_no_webhook_and_a_failing_one_stops_nobody() -> None:
    pager = Pager()
    notifier = notifier_for(None, readers=[failing, pager])
    with capture_logs() as logs:
        async with notifier, calling(broken_app(notifier)) as client:
            assert (await client.get("/broken")).status_code == 500
    assert len(pager.read) == 1
    assert [(log["event"], log["error"]) for log in logs if "reader" in log["event"]] == [
        ("alert_reader_failed", "ConnectionError")
    ]


async def test_reports_of_a_front_end_still_need_a_webhook() -> None:
    pager = Pager()
    async with notifier_for(None, readers=[pager]) as notifier:
        app = alerting_app(notifier)
        app.include_router(slack_router(notifier))
        async with calling(app) as client:
            answer = await client.post("/slack", json={"blocks": [{"type": "divider"}]})
    assert answer.status_code == 503
    assert pager.read == []
