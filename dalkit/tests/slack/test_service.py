"""The alerts and the route as the service itself has them, with its database and its settings."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError

from dalkit import DataAccessLayer, Transaction
from dalkit.settings import Settings

from .fake_slack import FakeSlack
from tests.service.app import create_app

REPORT = {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "it broke"}}]}


@pytest.fixture
def authorization(request: pytest.FixtureRequest) -> dict[str, str]:
    """A valid token, in a service that asks for one."""
    with suppress(pytest.FixtureLookupError):
        token: Callable[..., str] = request.getfixturevalue("token")
        return {"Authorization": f"Bearer {token(scopes=[], sub='user|ada')}"}
    return {}


@pytest.fixture
def alerting(settings: Settings, fake_slack: FakeSlack) -> Settings:
    """The settings of the service with a webhook."""
    update = {"slack_webhook_url": SecretStr(fake_slack.url), "slack_environments": ["testing"]}
    return settings.model_copy(update=update)


@asynccontextmanager
async def calling(app: FastAPI, headers: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with LifespanManager(app) as manager:
        transport = httpx.ASGITransport(manager.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://books.example", headers=headers
        ) as client:
            yield client


async def test_a_failed_commit_is_reported(
    alerting: Settings, db: DataAccessLayer, fake_slack: FakeSlack
) -> None:
    """A swallowed error makes PostgreSQL answer COMMIT with ROLLBACK: nobody's handler sees it."""
    app = create_app(alerting, dal=db)

    @app.get("/swallowing")
    async def swallowing(transaction: Transaction) -> str:
        with suppress(DBAPIError):
            await transaction.execute(sa.text("SELECT 1 / 0"))
        return "fine"

    async with calling(app, {}) as client:
        response = await client.get("/swallowing")
    assert response.status_code == 500
    [text] = fake_slack.texts
    assert "AbortedTransaction" in text
    assert "middleware" not in text
    assert "GET /swallowing" in text


async def test_sql_and_parameters_are_not_reported(
    alerting: Settings, db: DataAccessLayer, fake_slack: FakeSlack
) -> None:
    app = create_app(alerting, dal=db)

    @app.get("/failing")
    async def failing(transaction: Transaction) -> None:
        statement = sa.text("SELECT a FROM nowhere WHERE a = :value")
        await transaction.execute(statement, {"value": "hidden"})

    async with calling(app, {}) as client:
        assert (await client.get("/failing")).status_code == 500
    [text] = fake_slack.texts
    assert "42P01" in text
    assert "FROM nowhere" not in text
    assert "[parameters" not in text


async def test_the_user_is_named_on_a_route_that_asks_for_none(
    alerting: Settings, db: DataAccessLayer, fake_slack: FakeSlack, authorization: dict[str, str]
) -> None:
    """The token is verified by Auth0, over HTTP, when the message is made."""
    app = create_app(alerting, dal=db)

    @app.get("/open")
    async def open_to_all() -> None:
        raise ValueError("broken")

    forged = {"Authorization": authorization["Authorization"][:-8] + "AAAAAAAA"}
    for headers in (authorization, forged, {}):
        async with calling(app, headers) as client:
            assert (await client.get("/open")).status_code == 500
    assert ["user|ada" in text for text in fake_slack.texts] == [True, False, False]
    assert authorization["Authorization"][7:40] not in "".join(fake_slack.texts)


async def test_an_outage_of_the_database_is_one_alert(
    alerting: Settings, fake_slack: FakeSlack
) -> None:
    nowhere: Any = SecretStr("postgresql://nobody:hidden@127.0.0.1:9/none")
    app = create_app(alerting.model_copy(update={"database_url": nowhere}))

    @app.get("/reading")
    async def reading(transaction: Transaction) -> None:
        await transaction.execute(sa.text("SELECT 1"))

    async with calling(app, {}) as client:
        statuses = {(await client.get("/reading")).status_code for _ in range(10)}
        statuses |= {(await client.get("/readyz")).status_code for _ in range(10)}
        await fake_slack.received(1)
        assert len(fake_slack.messages) == 1
    assert statuses == {503}
    assert "hidden" not in "".join(fake_slack.texts)
    assert len(fake_slack.messages) <= 2  # at the end, how often it was seen


async def test_the_route_forwards_for_the_verified_user(
    alerting: Settings, db: DataAccessLayer, fake_slack: FakeSlack, authorization: dict[str, str]
) -> None:
    async with calling(create_app(alerting, dal=db), authorization) as client:
        response = await client.post("/slack", json=REPORT)
        assert response.status_code == 204
        if authorization:
            assert (
                await client.post("/slack", json=REPORT, headers={"Authorization": ""})
            ).is_error
    [message] = fake_slack.messages
    reporter = "user|ada" if authorization else "127.0.0.1"
    assert message["attachments"][0]["footer"].startswith(f"Reported by {reporter} ")


async def test_without_a_webhook_slack_is_simply_off(
    settings: Settings, db: DataAccessLayer, authorization: dict[str, str]
) -> None:
    app = create_app(settings, dal=db)

    @app.get("/broken")
    async def broken() -> None:
        raise ValueError("broken")

    async with calling(app, authorization) as client:
        assert (await client.get("/broken")).status_code == 500
        assert (await client.post("/slack", json=REPORT)).status_code == 503
