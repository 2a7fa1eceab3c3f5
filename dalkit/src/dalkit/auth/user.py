"""Who is calling, as far as the verified token says."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # scope-token, RFC 6749 section 3.3


class User(BaseModel):
    """The verified user. A subclass has the claims that a service needs, each a field.

    A field reads the claim of its name or alias, such as one that an Auth0 Action adds. A token
    without a valid value is answered 403.

        class Member(User):
            tenant: UUID = Field(alias="https://example.com/tenant")

        auth0 = Auth0.from_settings(settings, user_model=Member)  # in app.py

        async def read_books(member: Annotated[Member, require("read:books")]) -> ...:
            ...

    `require()` without a scope asks for nothing but a good token.
    """

    model_config = ConfigDict(frozen=True)

    sub: str
    scopes: frozenset[str]


def granted_scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return what `scope` (a string, space separated) and `permissions` (Auth0's RBAC) grant.

    A claim or an item of another type grants nothing.
    """
    scope, permissions = claims.get("scope"), claims.get("permissions")
    names: list[Any] = scope.split(" ") if isinstance(scope, str) else []
    names += permissions if isinstance(permissions, list) else []
    return frozenset(name for name in names if isinstance(name, str) and SCOPE.fullmatch(name))
