"""Decides what is worth an alert, and hands it to the delivery without waiting."""

import asyncio
from collections.abc import Collection, Hashable
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self

import structlog
from starlette.requests import Request
from starlette.types import Scope

from ..settings import Settings
from . import exceptions, message
from .delivery import STEADY, Delivery, Job, Pace
from .folding import Entry, Folding
from .metrics import observe_delivery
from .report import UNNAMED, Incident, Origin, Report
from .webhook import Payload

logger = structlog.get_logger(__name__)

_OUTAGE: Hashable = "outage"


class SlackNotifier:
    """Reports unexpected errors to a Slack webhook.

    Enter it in the lifespan (`async with`): leaving it sends what is queued. Without that it
    starts on first use and nothing is drained. `environments_trigger` names the environments that
    alert, None means all. `authentication` needs no looking at: it leaves the verified user's
    `sub` in `request.state.user_sub`, and no token is decoded again for a report.
    """

    def __init__(
        self,
        webhook_url: str | None,
        authentication: object | None = None,
        environments_trigger: Collection[str] | None = None,
        *,
        environtments_trigger: Collection[str] | None = None,  # the spelling of older code
        origin: Origin = UNNAMED,
        include_body: bool = False,
        window: float = 60.0,
        queue_size: int = 100,
        pace: Pace = STEADY,
    ) -> None:
        if environments_trigger is None:
            environments_trigger = environtments_trigger
        self.authentication = authentication
        self.delivery = Delivery(webhook_url, pace, alerts=queue_size) if webhook_url else None
        self._environments = environments_trigger
        self._origin = origin
        self._include_body = include_body
        self._window = window
        self._folding = Folding(window, self._tell_repeats)
        self._dropped_told = 0

    @classmethod
    def from_settings(cls, settings: Settings, *, service: str, version: str) -> Self:
        """Return the one that SLACK_* describe; without SLACK_WEBHOOK_URL it sends nothing."""
        url = settings.slack_webhook_url
        return cls(
            webhook_url=url.get_secret_value() if url else None,
            environments_trigger=settings.slack_environments,
            origin=Origin(service, version, settings.environment),
            include_body=settings.slack_include_body,
        )

    @property
    def source(self) -> str:
        """The service, its version and its environment."""
        origin = self._origin
        return f"{origin.service} {origin.version} ({origin.environment})"

    async def __aenter__(self) -> Self:
        if self.delivery is not None:
            self.delivery.start()
            observe_delivery(self.delivery)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._folding.close()
        if self.delivery is not None:
            await self.delivery.stop()

    async def slack_notify(self, request: Request, err: BaseException, environment: str) -> None:
        """Report `err` unless it is expected or `environment` does not alert. Does not wait."""
        self.report(request.scope, err, environment=environment)

    def report(
        self,
        scope: Scope,
        error: BaseException,
        *,
        environment: str | None = None,
        status: int = 500,
        body: bytes = b"",
        outage: bool = False,
    ) -> None:
        """Queue an alert about `error`. Never waits, never raises.

        `status` is what the client got, `body` what was read of the request. All errors reported
        with `outage=True` are one within a window, whatever they are.
        """
        try:
            origin = replace(self._origin, environment=environment or self._origin.environment)
            if self._is_worth_it(error, origin, outage):
                self._tell(Incident(scope, error, status, body), origin, outage)
        except Exception:
            # The request's own exception is on its way up: a bug in here must not take its place.
            logger.exception("slack_report_failed")

    def forward(self, payload: Payload) -> asyncio.Future[int] | None:
        """Queue a message of a client's, behind all alerts; None when its own queue is full.

        The future gets Slack's status, 0 when Slack did not answer.
        """
        if self.delivery is None:
            return None
        self.delivery.start()
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        queued = self.delivery.put(Job(lambda: payload, done), self.delivery.reports)
        return done if queued else None

    def _is_worth_it(self, error: BaseException, origin: Origin, outage: bool) -> bool:
        if self._environments is not None and origin.environment not in self._environments:
            return False
        return outage or not exceptions.is_expected(error)

    def _tell(self, incident: Incident, origin: Origin, outage: bool) -> None:
        delivery = self.delivery
        if delivery is None:
            return
        key, variant = (_OUTAGE, 0) if outage else incident.fingerprint()
        if self._folding.repeated(key, variant):
            return
        if delivery.alerts.is_full:
            delivery.alerts.drop()
            return
        delivery.start()
        entry = self._folding.open(key, variant)
        report = entry.report = incident.report(origin, include_body=self._include_body)
        delivery.put(Job(partial(self._alert, report, entry)), delivery.alerts)

    def _tell_repeats(self, entry: Entry) -> None:
        if self.delivery is not None and entry.report is not None:
            self.delivery.put(Job(partial(self._again, entry.report, entry)), self.delivery.alerts)

    def _alert(self, report: Report, entry: Entry) -> Payload:
        return message.alert(report, repeats=entry.take(), dropped=self._take_dropped())

    def _again(self, report: Report, entry: Entry) -> Payload:
        repeats, dropped = entry.take(), self._take_dropped()
        return message.again(report, repeats=repeats, window=self._window, dropped=dropped)

    def _take_dropped(self) -> int:
        """Return how many alerts were dropped since the last message said so."""
        total = self.delivery.alerts.dropped if self.delivery else 0
        untold, self._dropped_told = total - self._dropped_told, total
        return untold
