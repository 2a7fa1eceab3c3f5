"""GET /v1/me tells a client who it is."""

from collections.abc import Callable

import httpx
from fastapi import FastAPI

from dalkit.dev.issuer import Issuer


async def test_me(issuer: Issuer, api: httpx.AsyncClient) -> None:
    """The subject and the scopes of the token, in order."""
    token = issuer.token(sub="auth0|7", scope="write:books openid", permissions=["read:books"])
    response = await api.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert response.json() == {
        "sub": "auth0|7",
        "scopes": ["openid", "read:books", "write:books"],
    }


async def test_what_is_no_scope_is_not_shown(issuer: Issuer, api: httpx.AsyncClient) -> None:
    """Nor does it make a 500: JSON cannot carry every string that a token can."""
    token = issuer.token(scope=" \ud800 é", permissions=["\ud800", "", "a b", 'a"b', "a\\b", "a"])
    response = await api.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, response.json()["scopes"]) == (200, ["a"])


async def test_tests_are_signed_in(app: FastAPI, client: httpx.AsyncClient) -> None:
    """The fixture `client` has a token with the scopes of all routes."""
    me = (await client.get("/v1/me")).json()
    assert me["sub"] == "dev|user"
    operations = [each for path in app.openapi()["paths"].values() for each in path.values()]
    needs = [need["Auth0"] for each in operations for need in each.get("security", [])]
    assert needs
    assert set(me["scopes"]) == {scope for need in needs for scope in need}


async def test_a_test_may_send_its_own_token(
    client: httpx.AsyncClient, token: Callable[..., str]
) -> None:
    """`token(scopes=..., **claims)`."""
    headers = {"Authorization": f"Bearer {token(scopes=['read:books'], sub='auth0|8')}"}
    me = (await client.get("/v1/me", headers=headers)).json()
    assert me == {"sub": "auth0|8", "scopes": ["read:books"]}
