"""The answers to those who do not get in, per RFC 6750 section 3."""

import time

import httpx
import pytest

from dalkit.dev.issuer import Issuer


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Token abc", "Bearer\tabc"],
)
async def test_no_credentials(authorization: str | None, api: httpx.AsyncClient) -> None:
    """401 that says how to authenticate, and no error: nothing was presented."""
    headers = {} if authorization is None else {"Authorization": authorization}
    response = await api.get("/any/sub", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="api"'
    assert response.headers["cache-control"] == "no-store"


async def test_expired_token_is_called_expired(issuer: Issuer, api: httpx.AsyncClient) -> None:
    """A client can tell that it must refresh its token."""
    headers = {"Authorization": f"Bearer {issuer.token(exp=int(time.time()) - 60)}"}
    response = await api.get("/any/sub", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == (
        'Bearer realm="api", error="invalid_token", error_description="The access token expired."'
    )


@pytest.mark.parametrize("second", ["Bearer x", "Basic eA==", ""])
async def test_two_authorization_headers(
    second: str, issuer: Issuer, api: httpx.AsyncClient
) -> None:
    """400: a proxy and this service might each believe another one."""
    headers = [("Authorization", f"Bearer {issuer.token()}"), ("Authorization", second)]
    for order in (headers, headers[::-1]):
        response = await api.get("/any/sub", headers=order)
        assert response.status_code == 400
        assert 'error="invalid_request"' in response.headers["www-authenticate"]
        assert response.headers["cache-control"] == "no-store"


async def test_missing_scope(issuer: Issuer, api: httpx.AsyncClient) -> None:
    """403 names every scope that the route requires."""
    headers = {"Authorization": f"Bearer {issuer.token(['read:books'])}"}
    response = await api.get("/both/sub", headers=headers)
    assert response.status_code == 403
    assert response.headers["www-authenticate"] == (
        'Bearer realm="api", error="insufficient_scope", scope="read:books write:books", '
        'error_description="The access token lacks a scope: read:books write:books."'
    )
    assert response.headers["cache-control"] == "no-store"


async def test_token_in_the_url_or_the_body_is_not_read(
    issuer: Issuer, api: httpx.AsyncClient
) -> None:
    """RFC 6750 sections 2.2 and 2.3 are not offered: URLs are logged along the way."""
    response = await api.get("/any/sub", params={"access_token": issuer.token()})
    assert response.status_code == 401


async def test_public_route_takes_no_notice(api: httpx.AsyncClient) -> None:
    """A bad token changes nothing where none is asked for."""
    response = await api.get("/public", headers={"Authorization": "Bearer x"})
    assert response.status_code == 200
