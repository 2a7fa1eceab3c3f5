"""Who is calling, as far as the verified token says."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # scope-token, RFC 6749 section 3.3


class User(BaseModel):
    """The verified user. Extend it with the claims that your service needs.

    A field reads the claim of its name or alias, e.g. one that an Auth0 Action adds:

        tenant: UUID = Field(alias="https://example.com/tenant")

    A token without a valid value is answered 403.
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
