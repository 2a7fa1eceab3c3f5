"""Who may call from a browser, and under which host names."""

from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .headers import HEADER
from .server_error import render

# Kubernetes asks by the pod's address, which no list can name.
PROBES = ("/livez", "/readyz")

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
REQUEST_HEADERS = ("Authorization", "Content-Type", "If-Match", "If-None-Match", HEADER)
RESPONSE_HEADERS = ("ETag", "Location", "Retry-After", HEADER)


class CorsMiddleware:
    """Starlette's CORSMiddleware for these `origins`; without any, no other origin is answered.

    No credentials: tokens travel in the Authorization header, there are no cookies to send.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        cors = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=RESPONSE_HEADERS,
        )
        self.app = cors if origins else app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class TrustedHostsMiddleware:
    """Answers 400 to requests for other `hosts` than these, probes excepted; without any, to none.

    `*.example.com` stands for every subdomain, as in Starlette's TrustedHostMiddleware.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_request = scope["type"] in ("http", "websocket")
        is_exempt = not (is_request and self.hosts) or scope["path"] in PROBES
        if is_exempt or await self._is_trusted(scope, receive):
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

        judge = TrustedHostMiddleware(passed, self.hosts, www_redirect=False)
        await judge(scope, receive, discard)
        return trusted
