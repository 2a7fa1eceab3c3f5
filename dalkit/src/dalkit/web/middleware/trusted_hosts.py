"""Refuses requests for another host's name."""

from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .rendering import render

# Kubernetes asks by the pod's address, which no list can name.
PROBES = ("/livez", "/readyz")


class TrustedHostsMiddleware:
    """Lets Starlette's TrustedHostMiddleware judge, exempts the probes, answers as a problem."""

    def __init__(self, app: ASGIApp, allowed_hosts: Sequence[str]) -> None:
        self.app = app
        self.allowed_hosts = allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_request = scope["type"] in ("http", "websocket")
        if not is_request or scope["path"] in PROBES or await self._is_trusted(scope, receive):
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await render(scope, receive, send, HTTPException(400, "Unknown host."))
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": "Unknown host."})

    async def _is_trusted(self, scope: Scope, receive: Receive) -> bool:
        trusted = False

        async def passed(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal trusted
            trusted = True

        async def discard(message: Message) -> None:
            pass

        judge = TrustedHostMiddleware(passed, self.allowed_hosts, www_redirect=False)
        await judge(scope, receive, discard)
        return trusted
