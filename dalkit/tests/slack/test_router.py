"""POST /slack: what a front end may send, how much of it, and what it is told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import Depends, FastAPI, HTTPException, Request

from dalkit.slack import SlackNotifier, slack_router
from dalkit.slack.forwarding import ReportLimits

from .apps import alerting_app, notifier_for
from .fake_slack import Answer, FakeSlack

GENEROUS = ReportLimits(user=1000, everybody=1000)


def text(content: str, kind: str = "mrkdwn") -> dict[str, Any]:
    return {"type": kind, "text": content}


def section(content: str = "it broke", **more: Any) -> dict[str, Any]:
    return {"type": "section", "text": text(content)} | more


def sign_in(request: Request) -> None:
    """Verify a user the way auth does: 401, or `user_sub`."""
    if "authorization" not in request.headers:
        raise HTTPException(401)
    request.state.user_sub = request.headers["authorization"]


@asynccontextmanager
async def forwarding(
    notifier: SlackNotifier, limits: ReportLimits = GENEROUS, user: str = "ada"
) -> AsyncIterator[httpx.AsyncClient]:
    app: FastAPI = alerting_app(notifier)
    guard: Any = Depends(sign_in)
    app.include_router(
        slack_router(notifier, source="books 1.2.3", dependencies=[guard], limits=limits)
    )
    async with notifier, LifespanManager(app) as manager:
        transport = httpx.ASGITransport(manager.app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://books.example", headers={"Authorization": user}
        ) as client:
            yield client


async def test_a_report_is_accepted_and_sent_with_its_reporter(fake_slack: FakeSlack) -> None:
    async with forwarding(notifier_for(fake_slack.url), user="ada <!here>") as client:
        response = await client.post("/slack", json={"blocks": [section()]})
    assert (response.status_code, response.content) == (204, b"")
    [message] = fake_slack.messages
    assert message["blocks"] == [section(text=text("it broke") | {"verbatim": True})]
    footer = message["attachments"][0]["footer"]
    assert footer.startswith("Reported by ada &lt;!here&gt; to books 1.2.3")
    assert response.headers["x-request-id"] in footer


async def test_a_report_needs_a_user(fake_slack: FakeSlack) -> None:
    async with forwarding(notifier_for(fake_slack.url)) as client:
        del client.headers["Authorization"]
        response = await client.post("/slack", json={"blocks": [section()]})
    assert response.status_code == 401
    assert fake_slack.messages == []


KINDS = [
    {"type": "header", "text": text("a title", "plain_text")},
    section(),
    {"type": "section", "fields": [text("*a*"), text("b", "plain_text")]},
    {"type": "context", "elements": [text("small")]},
    {"type": "divider"},
]


async def test_the_kinds_of_blocks_that_describe_an_error_are_taken(fake_slack: FakeSlack) -> None:
    async with forwarding(notifier_for(fake_slack.url)) as client:
        response = await client.post("/slack", json={"blocks": KINDS})
        assert response.status_code == 204
    [message] = fake_slack.messages
    assert [block["type"] for block in message["blocks"]] == [kind["type"] for kind in KINDS]


REFUSED = {
    "no blocks": {"blocks": []},
    "51 blocks": {"blocks": [{"type": "divider"}] * 51},
    "a channel": {"blocks": [section()], "channel": "#general"},
    "a name": {"blocks": [section()], "username": "ceo"},
    "an icon": {"blocks": [section()], "icon_url": "https://x.example"},
    "a URL": {"blocks": [section()], "url": "https://x.example"},
    "an image": {"blocks": [{"type": "image", "image_url": "https://x.example", "alt_text": "x"}]},
    "a button": {"blocks": [section(accessory={"type": "button"})]},
    "an empty text": {"blocks": [section("")]},
    "a long text": {"blocks": [section("x" * 3001)]},
    "a long title": {"blocks": [{"type": "header", "text": text("x" * 151, "plain_text")}]},
    "a long field": {"blocks": [{"type": "section", "fields": [text("x" * 2001)]}]},
    "11 fields": {"blocks": [{"type": "section", "fields": [text("x")] * 11}]},
    "an empty section": {"blocks": [{"type": "section"}]},
    "more than a message": {"blocks": [section("x" * 3000)] * 4},
    "parsed text": {"blocks": [section(text=text("x") | {"verbatim": False})]},
    "no object": [],
}


@pytest.mark.parametrize("name", REFUSED)
async def test_anything_else_is_refused(fake_slack: FakeSlack, name: str) -> None:
    async with forwarding(notifier_for(fake_slack.url)) as client:
        response = await client.post("/slack", json=REFUSED[name])
    assert response.status_code == 422
    assert fake_slack.messages == []


async def test_50_blocks_are_taken(fake_slack: FakeSlack) -> None:
    async with forwarding(notifier_for(fake_slack.url)) as client:
        response = await client.post("/slack", json={"blocks": [{"type": "divider"}] * 50})
    assert response.status_code == 204
    assert len(fake_slack.messages[0]["blocks"]) == 50


async def test_text_is_escaped_and_still_fits(fake_slack: FakeSlack) -> None:
    async with forwarding(notifier_for(fake_slack.url)) as client:
        blocks = [section("<!channel> <https://x.example|x> @here"), section("&" * 3000)]
        await client.post("/slack", json={"blocks": blocks})
    first, second = fake_slack.messages[0]["blocks"]
    assert "&lt;!channel&gt;" in first["text"]["text"]
    assert "://" not in first["text"]["text"]
    assert "@here" not in first["text"]["text"]
    assert len(second["text"]["text"]) <= 3000


@pytest.mark.parametrize("announced", [True, False])
async def test_a_large_body_is_refused(fake_slack: FakeSlack, announced: bool) -> None:
    body = b'{"blocks": [' + b" " * 16_384 + b"]}"

    async def chunks() -> AsyncIterator[bytes]:
        yield body

    async with forwarding(notifier_for(fake_slack.url)) as client:
        content = body if announced else chunks()
        headers = {"Content-Type": "application/json"}
        response = await client.post("/slack", content=content, headers=headers)
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"


async def test_each_user_has_a_limit(fake_slack: FakeSlack) -> None:
    limits = ReportLimits(user=2, everybody=100)
    async with forwarding(notifier_for(fake_slack.url), limits) as client:
        report = {"blocks": [section()]}
        statuses = [(await client.post("/slack", json=report)).status_code for _ in range(3)]
        refused = await client.post("/slack", json=report)
        other = await client.post("/slack", json=report, headers={"Authorization": "bob"})
    assert statuses == [204, 204, 429]
    assert 25 <= int(refused.headers["retry-after"]) <= 30
    assert refused.headers["content-type"] == "application/problem+json"
    assert other.status_code == 204


async def test_everybody_together_has_a_limit(fake_slack: FakeSlack) -> None:
    limits = ReportLimits(user=100, everybody=2)
    async with forwarding(notifier_for(fake_slack.url), limits) as client:
        statuses = [
            (
                await client.post(
                    "/slack", json={"blocks": [section()]}, headers={"Authorization": f"user {n}"}
                )
            ).status_code
            for n in range(3)
        ]
    assert statuses == [204, 204, 429]


async def test_a_full_queue_is_a_429(fake_slack: FakeSlack) -> None:
    fake_slack.answer = Answer(delay=0.25)
    notifier = notifier_for(fake_slack.url)
    assert notifier.delivery is not None
    notifier.delivery.reports.capacity = 1
    async with forwarding(notifier) as client:
        responses = [await client.post("/slack", json={"blocks": [section()]}) for _ in range(5)]
        fake_slack.closing.set()
    assert responses[0].status_code == 204
    assert responses[-1].status_code == 429
    assert "retry-after" in responses[-1].headers


@pytest.mark.parametrize("status", [403, 404, 429, 500])
async def test_a_refusal_is_a_502_without_slack_s_words(fake_slack: FakeSlack, status: int) -> None:
    fake_slack.answer = Answer(status, {"Retry-After": "0"})
    async with forwarding(notifier_for(fake_slack.url)) as client:
        response = await client.post("/slack?wait=true", json={"blocks": [section()]})
    assert response.status_code == 502
    assert response.json()["detail"] == f"Slack refused the report (HTTP {status})."


async def test_waiting_for_slack_tells_that_it_was_accepted(fake_slack: FakeSlack) -> None:
    async with forwarding(notifier_for(fake_slack.url)) as client:
        response = await client.post("/slack?wait=true", json={"blocks": [section()]})
        assert response.status_code == 204
        assert len(fake_slack.messages) == 1


async def test_an_unreachable_slack_is_a_502() -> None:
    async with forwarding(notifier_for("http://127.0.0.1:9/")) as client:
        response = await client.post("/slack?wait=true", json={"blocks": [section()]})
    assert response.status_code == 502
    assert "no answer" in response.json()["detail"]


async def test_without_a_webhook_it_says_so() -> None:
    async with forwarding(notifier_for(None)) as client:
        response = await client.post("/slack", json={"blocks": [section()]})
    assert response.status_code == 503
    assert "SLACK_WEBHOOK_URL" in response.json()["detail"]
