"""Decides what is worth an alert, and hands it to the delivery without waiting."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Self

import structlog
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from ..settings import Settings
from .delivery import STEADY, Delivery, Job, Pace, Payload, observe_delivery
from .report import UNNAMED, Origin, Report, describe, fingerprint, leaves, own_code

logger = structlog.get_logger(__name__)

# They carry a status, or the client went away: nobody needs to hear of them.
_EXPECTED = (
    *(HTTPException, WebSocketException, RequestValidationError),
    *(WebSocketRequestValidationError, ClientDisconnect, WebSocketDisconnect),
)
_MOST_SEEN = 1000
_MOST_HEADERS, _LONGEST_HEADER = 100, 8_200
_PATIENCE = 2.0  # seconds to verify a token
_READING = 10.0  # seconds that a reader may take

#: Gets each alert as Slack would, besides Slack or instead of it.
Reader = Callable[[Payload], Awaitable[object]]


@dataclass(slots=True, eq=False)
class Seen:
    """An error in its window; `repeats` counts what no message has told yet."""

    report: Report
    repeats: int = 0
    timer: asyncio.TimerHandle | None = None


class SlackNotifier:
    """Reports unexpected errors to a Slack webhook; equal ones within `window` seconds are counted.

    Enter it in the lifespan (`async with`): leaving it sends what is queued. `environments_trigger`
    names the environments that alert, None means all. `authentication` (an Auth0) names the user of
    a token that no route has asked for. `package` is the owner's (`__package__`): its code is shown
    wherever it is installed. `exception_text` adds 500 characters of the text, without secrets.
    Each of `readers` is awaited with every alert as Slack gets it (`text` and `blocks` in a dict),
    with or without a webhook; one that raises or takes 10 seconds is logged and given up.
    """

    def __init__(
        self,
        webhook_url: str | None,
        authentication: Any = None,
        environments_trigger: Collection[str] | None = None,
        *,
        environtments_trigger: Collection[str] | None = None,  # the spelling of older code
        origin: Origin = UNNAMED,
        package: str | None = None,
        exception_text: bool = False,
        readers: Sequence[Reader] = (),
        window: float = 60.0,
        queue_size: int = 100,
        pace: Pace = STEADY,
    ) -> None:
        if environments_trigger is None:
            environments_trigger = environtments_trigger
        self.delivery = Delivery(webhook_url or None, pace, alerts=queue_size)
        self.tells = bool(webhook_url or readers)
        self._readers, self._authentication = tuple(readers), authentication
        self._environments = environments_trigger
        self.source = f"{origin.service} {origin.version} ({origin.environment})"
        self._origin, self._own, self._window = origin, own_code(package), window
        self._with_text = exception_text
        self._seen: dict[Hashable, Seen] = {}
        self._dropped_told = 0

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        service: str,
        version: str,
        authentication: Any = None,
        package: str | None = None,
        readers: Sequence[Reader] = (),
    ) -> Self:
        """Return the one that SLACK_* describe; without a webhook it tells `readers` only."""
        url = settings.slack_webhook_url
        return cls(
            url.get_secret_value() if url else None,
            authentication,
            settings.slack_environments,
            origin=Origin(service, version, settings.environment),
            package=package,
            exception_text=settings.slack_exception_text,
            readers=readers,
        )

    async def __aenter__(self) -> Self:
        if self.tells:
            observe_delivery(self.delivery)
        return self

    async def __aexit__(self, *error: object) -> None:
        for seen in self._seen.values():
            if seen.timer is not None:
                seen.timer.cancel()
            self._put(seen, again=True)
        self._seen.clear()
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
        outage: bool = False,
    ) -> None:
        """Queue an alert about `error`. Never waits, never raises.

        `status` is what the client got. All errors reported with `outage=True` are one within a
        window, whatever they are.
        """
        try:
            origin = self._origin._replace(environment=environment or self._origin.environment)
            alerts = self._environments is None or origin.environment in self._environments
            expected = not outage and all(isinstance(leaf, _EXPECTED) for leaf in leaves(error))
            if not self.tells or not alerts or expected:
                return
            key = "outage" if outage else fingerprint(error, scope, self._own)
            if key in self._seen:
                self._seen[key].repeats += 1
            elif self.delivery.accepts(self.delivery.alerts):
                seen = Seen(describe(error, scope, status, origin, self._own, self._with_text))
                if len(self._seen) < _MOST_SEEN:
                    self._seen[key] = seen
                    self._open_window(key, seen)
                named = self._authentication is None or "User" in seen.report.facts
                self._put(seen, "" if named else _bearer_token(scope))
        except Exception:
            # The request's own exception is on its way up: a bug in here must not take its place.
            logger.exception("slack_report_failed")

    def forward(self, payload: Payload) -> asyncio.Future[int] | None:
        """Queue a message behind all alerts; None without a webhook or room in its own queue.

        The future gets Slack's status, 0 when Slack did not answer.
        """

        async def ready() -> Payload:
            return payload

        job, it = Job(ready), self.delivery
        return job.done if it.url and it.put(job, it.reports) else None

    def _open_window(self, key: Hashable, seen: Seen) -> None:
        loop = asyncio.get_running_loop()
        seen.timer = loop.call_later(self._window, self._end_window, key, seen)

    def _end_window(self, key: Hashable, seen: Seen) -> None:
        """A lasting error is told about once a window; after a quiet one it is news again."""
        if seen.repeats:
            self._open_window(key, seen)
            self._put(seen, again=True)
        else:
            del self._seen[key]

    def _put(self, seen: Seen, token: str = "", *, again: bool = False) -> None:
        if seen.repeats or not again:
            job = Job(partial(self._message, seen, token, again))
            self.delivery.put(job, self.delivery.alerts)

    async def _message(self, seen: Seen, token: str, again: bool) -> Payload:
        if token and (user := await self._user(token)):
            seen.report.facts["User"] = user
        repeats, seen.repeats = seen.repeats, 0
        dropped = self.delivery.alerts.dropped - self._dropped_told
        self._dropped_told += dropped
        when = f"in the last {self._window:g} s" if again else "meanwhile"
        notes = [f"Seen {repeats} more times {when}."] if repeats else []
        if dropped:
            notes.append(f"{dropped} other alerts were dropped: the queue was full.")
        payload = seen.report.payload(notes, again=again)
        for read in self._readers:
            try:
                async with asyncio.timeout(_READING):
                    await read(payload)
            except Exception as failure:  # noqa: BLE001  (the next reader and Slack come after it)
                logger.error("alert_reader_failed", error=type(failure).__name__)
        return payload

    async def _user(self, token: str) -> str | None:
        """Whose token it is; None when it proves nothing, or nobody can tell soon enough."""
        try:
            async with asyncio.timeout(_PATIENCE):
                return str((await self._authentication.verify(token)).sub)[:200]
        except Exception as refusal:  # noqa: BLE001  (whatever a verifier may raise)
            logger.info("slack_user_not_named", error=type(refusal).__name__)
            return None


def _bearer_token(scope: Scope) -> str:
    """The token of the only Authorization header among the first hundred, or an empty string."""
    headers = islice(scope.get("headers", ()), _MOST_HEADERS)
    found = [value for name, value in headers if name == b"authorization"]
    if len(found) != 1 or len(found[0]) > _LONGEST_HEADER:
        return ""
    scheme, _, token = found[0].partition(b" ")
    return token.strip(b" ").decode("latin-1") if scheme.lower() == b"bearer" else ""


class AlertMiddleware:
    """The outermost middleware: whatever comes by is what the app could not handle.

    The response, if there is one, is already sent when an error gets here. A handler that answers
    503 because the database is out leaves the cause in `request.state.outage`.
    """

    def __init__(self, app: ASGIApp, notifier: SlackNotifier) -> None:
        self.app, self.notifier = app, notifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app; report what it raises, and raise it again."""
        if not self.notifier.tells or scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        status = 500

        def watch(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            return send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception as error:
            self.notifier.report(scope, error, status=status)
            raise
        if outage := (scope.get("state") or {}).get("outage"):
            self.notifier.report(scope, outage, status=status, outage=True)
