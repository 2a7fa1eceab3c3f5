"""Plugs Slack into the app: one call in app.py."""

from collections.abc import Sequence
from typing import Protocol

from fastapi import FastAPI
from fastapi.params import Depends
from pydantic import SecretStr

from .middleware import AlertMiddleware
from .notifier import SlackNotifier
from .report import Origin
from .router import slack_router


class SlackSettings(Protocol):
    """What is read of the service's settings."""

    @property
    def environment(self) -> str: ...
    @property
    def slack_webhook_url(self) -> SecretStr | None: ...
    @property
    def slack_environments(self) -> Sequence[str]: ...
    @property
    def slack_include_body(self) -> bool: ...


def install_slack(
    app: FastAPI, settings: SlackSettings, dependencies: Sequence[Depends] = ()
) -> SlackNotifier:
    """Add the alerts and `POST /slack`, guarded by `dependencies`; call it after every other one.

    The last middleware added is the outermost: alerts must see what the others let through. The
    notifier runs for as long as the app's lifespan.
    """
    url = settings.slack_webhook_url
    notifier = SlackNotifier(
        webhook_url=url.get_secret_value() if url else None,
        environments_trigger=settings.slack_environments,
        origin=Origin(app.title, app.version, settings.environment),
        include_body=settings.slack_include_body,
    )
    source = f"{app.title} {app.version} ({settings.environment})"
    app.include_router(slack_router(notifier, source=source, dependencies=dependencies))
    if notifier.delivery is not None:
        app.add_middleware(AlertMiddleware, notifier=notifier)
    return notifier
