"""Sees the exceptions of the whole app, reports them and lets them pass."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .known_values import BODY_LIMIT
from .notifier import SlackNotifier


class AlertMiddleware:
    """The outermost middleware: whatever comes by is what the app could not handle.

    The response, if there is one, is already sent when an error gets here. A handler that answers
    503 because the database is out leaves the cause in `request.state.outage`.
    """

    def __init__(self, app: ASGIApp, notifier: SlackNotifier) -> None:
        self.app = app
        self.notifier = notifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.notifier.delivery is None or scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        status = 500
        body = b""

        async def read() -> Message:
            # What was read is kept for comparison: nothing of it may appear in an alert.
            nonlocal body
            message = await receive()
            if len(body) < BODY_LIMIT and message["type"] == "http.request":
                body += message.get("body", b"")[: BODY_LIMIT - len(body)]
            return message

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, read, watch)
        except Exception as error:
            self.notifier.report(scope, error, status=status, body=body)
            raise
        outage = (scope.get("state") or {}).get("outage")
        if outage is not None:
            self.notifier.report(scope, outage, status=status, body=body, outage=True)
