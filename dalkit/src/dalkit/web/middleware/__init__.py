"""What happens around every request: pure ASGI classes, listed outermost first in app.py."""

from .access_log import AccessLogMiddleware
from .body_limit import BodyLimitMiddleware
from .head import HeadMiddleware
from .headers import RequestIdMiddleware, SecurityHeadersMiddleware
from .hosts import CorsMiddleware, TrustedHostsMiddleware
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
