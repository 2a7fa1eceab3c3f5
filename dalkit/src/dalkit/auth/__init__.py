"""Auth0 access tokens: who calls, and what they may do. Applied where app.py mounts routers."""

from ..extras import extra

with extra("auth0", "dalkit.auth"):
    from .auth0 import Auth0
    from .dependencies import AuthMiddleware, CurrentUser, include_guarded, me_router, require
    from .user import User

__all__ = [
    "Auth0",
    "AuthMiddleware",
    "CurrentUser",
    "User",
    "include_guarded",
    "me_router",
    "require",
]
