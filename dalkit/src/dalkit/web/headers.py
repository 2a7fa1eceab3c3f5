"""What headers say: the request's id, advice for browsers, who may call under which host name."""

import re
from collections.abc import Sequence
from os import urandom

from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from .layers import Exchange, Headers, Layer, render
from .positions import HEADER as POSITION

HEADER = "X-Request-ID"

# Whatever else a client sends is not worth the trouble in logs, headers and alerts.
_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_HEADER = HEADER.lower().encode()


# Kubernetes asks by the pod's address, which no list can name.
PROBES = ("/livez", "/readyz")

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
REQUEST_HEADERS = (
    *("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match"),
    *(POSITION, HEADER),
)
RESPONSE_HEADERS = ("ETag", "Idempotent-Replayed", "Location", "Retry-After", POSITION, HEADER)


class RequestIdMiddleware(Layer):
    """Takes the id of the caller, or makes one: `request.state.request_id`, a `str`."""

    def before(self, exchange: Exchange) -> None:
        """Give the request its id."""
        exchange.request_id = _identify(exchange.scope).encode()

    def on_start(self, exchange: Exchange, headers: Headers) -> None:
        """Tell the client."""
        headers.append((_HEADER, exchange.request_id))

    async def pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket has an id, too."""
        if scope["type"] == "websocket":
            _identify(scope)
        await self.app(scope, receive, send)


def _identify(scope: Scope) -> str:
    """Note the id where the request, its log lines and alerts find it; return it."""
    request_id = _given(scope) or urandom(16).hex()
    # A copy for each request: not every server makes one of the lifespan's state.
    scope["state"] = {**(scope.get("state") or {}), "request_id": request_id}
    # Not undone at the end: the server logs an exception after this, with the id.
    bind_contextvars(request_id=request_id)
    return request_id


def _given(scope: Scope) -> str | None:
    """Return the caller's id, if it is one that can be repeated anywhere."""
    for name, value in scope["headers"]:
        if name == _HEADER:
            return value.decode() if _ACCEPTABLE.fullmatch(value) else None
    return None


_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_HSTS = (b"strict-transport-security", b"max-age=31536000")
_NO_CONTENT = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
#: A page may load scripts, styles and images of its own; none of them inline, but for small images.
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_PAGE = (b"content-security-policy", PAGE_POLICY.encode())


class SecurityHeadersMiddleware(Layer):
    """Adds the headers that a response does not have yet (OWASP, "HTTP headers")."""

    def on_start(self, exchange: Exchange, headers: Headers) -> None:
        """Add those that are missing; over HTTPS, that it has to stay so."""
        present = dict(headers)
        is_page = present.get(b"content-type", b"").startswith(b"text/html")
        headers += [header for header in _ALWAYS if header[0] not in present]
        policy = _PAGE if is_page else _NO_CONTENT
        if policy[0] not in present:
            headers.append(policy)
        if exchange.scope.get("scheme") == "https" and _HSTS[0] not in present:
            headers.append(_HSTS)


class CorsMiddleware(Layer):
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
        super().__init__(cors if origins else app)


class TrustedHostsMiddleware(Layer):
    """Answers 400 to requests for other `hosts` than these, probes excepted; without any, to none.

    `*.example.com` stands for every subdomain, as in Starlette's TrustedHostMiddleware.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        super().__init__(_TrustedHosts(app, hosts) if hosts else app)


class _TrustedHosts:
    """Asks Starlette's for its opinion, and answers as the app does."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self.app = app
        self.hosts = hosts

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

        judge = TrustedHostMiddleware(passed, self.hosts, www_redirect=False)
        await judge(scope, receive, discard)
        return trusted
