"""Adds the middleware in the right order: one call in app.py."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from .access_log import AccessLogMiddleware
from .body_limit import BodyLimitMiddleware
from .request_id import HEADER, RequestIdMiddleware
from .security_headers import SecurityHeadersMiddleware
from .server_error import ServerErrorMiddleware
from .trusted_hosts import TrustedHostsMiddleware

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
REQUEST_HEADERS = ("Authorization", "Content-Type", "If-Match", "If-None-Match", HEADER)
RESPONSE_HEADERS = ("ETag", "Location", "Retry-After", HEADER)


class MiddlewareSettings(Protocol):
    """What is read of the service's settings."""

    @property
    def max_body_size(self) -> int: ...
    @property
    def cors_origins(self) -> Sequence[str]: ...
    @property
    def trusted_hosts(self) -> Sequence[str]: ...


def install_middleware(
    app: FastAPI, settings: MiddlewareSettings, *, body_limits: Mapping[str, int] | None = None
) -> None:
    """Add what every request passes; call it after innermost middleware was added.

    The last one added is the outermost, so this reads from the inside out. Whoever renders an
    error sits inside CORS, headers and request id: an error response without them is opaque to
    browsers and cannot be found in the logs. `body_limits` has the bytes that bodies may have on
    paths where MAX_BODY_SIZE is not meant.
    """
    app.add_middleware(ServerErrorMiddleware)
    app.add_middleware(
        BodyLimitMiddleware, max_body_size=settings.max_body_size, by_path=body_limits
    )
    if settings.trusted_hosts:
        app.add_middleware(TrustedHostsMiddleware, allowed_hosts=settings.trusted_hosts)
    if settings.cors_origins:
        # No credentials: tokens travel in the Authorization header, there are no cookies to send.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=RESPONSE_HEADERS,
        )
    app.add_middleware(SecurityHeadersMiddleware)
    app.add_middleware(AccessLogMiddleware)
    app.add_middleware(RequestIdMiddleware)
