"""What is between HTTP and the data: transactions, problems, middleware, health."""

from .conditional import ConditionalRead, ConditionalWrite, Created
from .health import health_router
from .middleware import (
    AccessLogMiddleware,
    BodyLimitMiddleware,
    CorsMiddleware,
    HeadMiddleware,
    RequestIdMiddleware,
    SecurityHeadersMiddleware,
    ServerErrorMiddleware,
    TrustedHostsMiddleware,
)
from .openapi import document
from .problems import problem_handlers
from .route_index import index_routes
from .shutdown import Shutdown
from .state import State

__all__ = [
    "AccessLogMiddleware",
    "BodyLimitMiddleware",
    "ConditionalRead",
    "ConditionalWrite",
    "CorsMiddleware",
    "Created",
    "HeadMiddleware",
    "RequestIdMiddleware",
    "SecurityHeadersMiddleware",
    "ServerErrorMiddleware",
    "Shutdown",
    "State",
    "TrustedHostsMiddleware",
    "document",
    "health_router",
    "index_routes",
    "problem_handlers",
]
