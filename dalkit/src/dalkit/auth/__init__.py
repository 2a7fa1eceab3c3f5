"""Auth0 access tokens: who calls, and what they may do. Applied where app.py mounts routers."""

from .auth0 import Auth0
from .dependencies import CurrentUser, require
from .install import install_auth
from .user import User

__all__ = ["Auth0", "CurrentUser", "User", "install_auth", "require"]
