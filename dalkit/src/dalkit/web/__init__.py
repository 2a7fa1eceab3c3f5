"""What is between HTTP and the data: transactions, problems, middleware, health."""

from .access_log import AccessLogMiddleware
from .bodies import BodyLimitMiddleware, HeadMiddleware
from .conditional import ConditionalRead, ConditionalWrite, Created
from .headers import (
    CorsMiddleware,
    RequestIdMiddleware,
    SecurityHeadersMiddleware,
    TrustedHostsMiddleware,
)
from .health import health_router
from .idempotency import idempotent_transaction, sweep_idempotency_keys
from .openapi import document
from .pages import pages_router
from .problems import problem_handlers
from .route_index import index_routes
from .server_error import ServerErrorMiddleware
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
    "idempotent_transaction",
    "index_routes",
    "pages_router",
    "problem_handlers",
    "sweep_idempotency_keys",
]
