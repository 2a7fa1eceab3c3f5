"""What happens around every request: pure ASGI classes, listed outermost first in app.py."""

from .access_log import AccessLogMiddleware
from .bodies import BodyLimitMiddleware, HeadMiddleware
from .headers import (
    CorsMiddleware,
    RequestIdMiddleware,
    SecurityHeadersMiddleware,
    TrustedHostsMiddleware,
)
from .server_error import ServerErrorMiddleware

__all__ = [
    "AccessLogMiddleware",
    "BodyLimitMiddleware",
    "CorsMiddleware",
    "HeadMiddleware",
    "RequestIdMiddleware",
    "SecurityHeadersMiddleware",
    "ServerErrorMiddleware",
    "TrustedHostsMiddleware",
]
