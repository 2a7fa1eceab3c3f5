"""The mark by which OpenAPI knows a guarded route."""

from fastapi.openapi.models import OAuth2, OAuthFlows
from fastapi.security.base import SecurityBase

SCHEME = "Auth0"


class AccessTokenScheme(SecurityBase):
    """What a dependency derives from. It has no URLs: those are the app's (openapi.py has them)."""

    def __init__(self) -> None:
        self.scheme_name = SCHEME
        self.model = OAuth2(flows=OAuthFlows())
