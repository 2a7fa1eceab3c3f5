"""`scope` and `permissions` grant what they name exactly, and nothing else does."""

from typing import Any

import httpx
import pytest

from dalkit.dev.issuer import Issuer

from .forge import Forger

GRANTED: list[dict[str, Any]] = [
    {"scope": "read:books"},
    {"scope": "openid read:books profile"},
    {"permissions": ["read:books"]},
    {"permissions": [None, 1, {}, "read:books"], "scope": 1},
    {"permissions": {"read:books": 1}, "scope": "read:books"},
    {"scope": "", "permissions": ["write:books", "read:books"]},
]

NOT_GRANTED: list[dict[str, Any]] = [
    {},
    {"scope": ""},
    {"scope": "read:book"},
    {"scope": "read:books2"},
    {"scope": "READ:BOOKS"},
    {"scope": "read:*"},
    {"scope": "write:books"},
    {"scope": "read:books,write:books"},
    {"scope": "openid\tread:books"},
    {"scope": "openid\u00a0read:books"},
    {"scope": ["read:books"]},
    {"scope": {"read:books": True}},
    {"scope": None, "permissions": "read:books"},
    {"permissions": "read:books"},
    {"permissions": {"read:books": 1}},
    {"permissions": [["read:books"]]},
    {"permissions": ["read:books "]},
    {"permissions": ["openid read:books"]},
    {"permissions": 1},
    {"permissions": True},
    {"scopes": ["read:books"]},
    {"scp": ["read:books"]},
    {"roles": ["admin"]},
]


async def ask(api: httpx.AsyncClient, issuer: Issuer, claims: dict[str, Any]) -> httpx.Response:
    """Ask for a route that requires read:books with a token that has only these claims."""
    forge = Forger(issuer)
    token = forge.token(payload=forge.payload(**claims))
    return await api.get("/reads/sub", headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("claims", GRANTED, ids=repr)
async def test_granted(claims: dict[str, Any], issuer: Issuer, api: httpx.AsyncClient) -> None:
    """Either claim is enough."""
    assert (await ask(api, issuer, claims)).status_code == 200


@pytest.mark.parametrize("claims", NOT_GRANTED, ids=repr)
async def test_not_granted(claims: dict[str, Any], issuer: Issuer, api: httpx.AsyncClient) -> None:
    """403: the user is known, but was not given the scope."""
    response = await ask(api, issuer, claims)
    assert response.status_code == 403
    assert 'error="insufficient_scope", scope="read:books"' in response.headers["www-authenticate"]


async def test_all_scopes_are_required(issuer: Issuer, api: httpx.AsyncClient) -> None:
    """`require("a", "b")` is a and b, wherever each is granted."""
    token = issuer.token(scope="read:books", permissions=["write:books"])
    response = await api.get("/both/sub", headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 200
