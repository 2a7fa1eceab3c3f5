"""The lines that older services have work here too."""

from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response

from dalkit.slack import SlackLogger, SlackNotifier, send_slack_message

from .apps import QUICK, calling
from .fake_slack import Answer, FakeSlack


@pytest.mark.parametrize("trigger", ["environments_trigger", "environtments_trigger"])
@pytest.mark.parametrize("environment", ["testing", "production"])
async def test_slack_notify_in_a_middleware_of_one_s_own(
    fake_slack: FakeSlack, trigger: str, environment: str
) -> None:
    auth: Any = SimpleNamespace()
    triggers: dict[str, Any] = {trigger: ["testing"], "pace": QUICK}
    slack_notifier = SlackNotifier(authentication=auth, webhook_url=fake_slack.url, **triggers)
    app = FastAPI()

    @app.middleware("http")
    async def slack_notify_middleware(request: Request, call_next: Any) -> Any:
        try:
            response = await call_next(request)
        except Exception as err:
            await slack_notifier.slack_notify(request, err, environment)
            raise
        return response

    @app.get("/error")
    async def endpoint_with_error() -> None:
        raise ValueError("hello from testing!")

    async with calling(app) as client:
        assert (await client.get("/error")).text == "Internal Server Error"
    if environment == "testing":
        await fake_slack.received(1)
        assert "hello from testing!" in fake_slack.texts[0]
        assert "GET /error" in fake_slack.texts[0]
    async with slack_notifier:
        pass
    assert len(fake_slack.messages) == (environment == "testing")


@pytest.mark.parametrize("status", [200, 404])
async def test_a_forwarding_route_of_one_s_own(fake_slack: FakeSlack, status: int) -> None:
    router = APIRouter(prefix="/slack")

    @router.post("/", status_code=204)
    async def forward_slack_logger(payload: SlackLogger) -> Response:
        response = await send_slack_message(fake_slack.url, blocks=payload.blocks)
        if response.status_code != 200:
            return Response(content=response.text, status_code=response.status_code)
        return Response(status_code=204)

    app = FastAPI()
    app.include_router(router)
    fake_slack.answer = Answer(status)
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "it *broke* <!channel>"}}
    async with calling(app) as client:
        response = await client.post("/slack/", json={"blocks": [section]})
    assert response.status_code == (204 if status == 200 else 404)
    [message] = fake_slack.messages
    assert message["blocks"][0]["text"]["text"] == "it *broke* &lt;!channel&gt;"


async def test_dicts_are_sent_as_they_are(fake_slack: FakeSlack) -> None:
    blocks = [
        {"type": "section", "text": {"type": "mrkdwn", "text": "<https://x.example|x> \ud800"}}
    ]
    async with httpx.AsyncClient() as client:
        response = await send_slack_message(fake_slack.url, blocks=blocks, client=client)
    assert response.status_code == 200
    assert fake_slack.messages[0]["blocks"][0]["text"]["text"] == "<https://x.example|x> ?"
