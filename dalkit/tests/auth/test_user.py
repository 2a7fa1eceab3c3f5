"""The owner's user model, and what the verified user leaves for log lines and alerts."""

from typing import Annotated, Any, assert_type
from uuid import UUID

import httpx
import pytest
from pydantic import Field
from starlette.types import Receive, Scope, Send

from dalkit.auth import Auth0, User, require
from dalkit.dev.issuer import Issuer

from .conftest import accepting, auth_app, guarded_app, serving

TENANT = "https://example.com/tenant"


class TenantUser(User):
    """A user of a tenant."""

    tenant: UUID = Field(alias=TENANT)


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({TENANT: "6f1c0b0e-7a52-4b8e-9f5e-0d5f6f1f2a3b"}, 200),
        ({TENANT: "not a uuid"}, 403),
        ({TENANT: None}, 403),
        ({TENANT: {"a": "\ud800"}}, 403),
        ({"tenant": "6f1c0b0e-7a52-4b8e-9f5e-0d5f6f1f2a3b"}, 403),
    ],
)
async def test_custom_claim(claims: dict[str, Any], status: int, issuer: Issuer) -> None:
    """A valid token without a valid custom claim is 403, and the claim's value is not repeated."""
    auth0 = accepting(issuer, user_model=TenantUser)
    async with serving(guarded_app(auth0)) as api:
        headers = {"Authorization": f"Bearer {issuer.token(**claims)}"}
        response = await api.get("/any/sub", headers=headers)
    assert response.status_code == status
    assert "not a uuid" not in response.text
    if status == 403:
        assert 'error="insufficient_scope"' in response.headers["www-authenticate"]
        assert response.headers["cache-control"] == "no-store"


async def test_a_handler_takes_the_owners_user(issuer: Issuer) -> None:
    """Typed, with the scopes that the route needs; mypy checks this very test."""

    async def read_tenant(user: Annotated[TenantUser, require("read:books")]) -> UUID:
        assert_type(user.tenant, UUID)
        return user.tenant

    app = auth_app(accepting(issuer, user_model=TenantUser))
    app.add_api_route("/tenant", read_tenant)
    tenant = "6f1c0b0e-7a52-4b8e-9f5e-0d5f6f1f2a3b"
    answers = []
    async with serving(app) as api:
        for scope in ("read:books", "write:books"):
            headers = {"Authorization": f"Bearer {issuer.token([scope], **{TENANT: tenant})}"}
            answers.append(await api.get("/tenant", headers=headers))
    assert answers[0].json() == tenant
    assert answers[1].status_code == 403
    assert app.openapi()["paths"]["/tenant"]["get"]["security"] == [{"Auth0": ["read:books"]}]


@pytest.mark.parametrize(
    ("path", "token", "sub"),
    [
        ("/any/sub", {}, "dev|user"),
        ("/reads/sub", {}, "dev|user"),
        ("/any/sub", {"sub": None}, None),
    ],
)
async def test_subject_is_left_for_log_lines(
    path: str, token: dict[str, Any], sub: str | None, issuer: Issuer, auth0: Auth0
) -> None:
    """`scope["state"]["user_sub"]` is set for verified users only, forbidden ones included."""
    app, seen = guarded_app(auth0), []

    async def watch(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {}
        await app(scope, receive, send)
        seen.append(scope["state"].get("user_sub"))

    async with (
        auth0,
        httpx.AsyncClient(transport=httpx.ASGITransport(watch), base_url="http://test") as api,
    ):
        await api.get(path, headers={"Authorization": f"Bearer {issuer.token(**token)}"})
    assert seen == [sub]


@pytest.mark.parametrize(
    ("org_id", "status"), [("org_1", 200), (None, 401), ("org_2", 401), (["org_1"], 401), (1, 401)]
)
async def test_organization(org_id: Any, status: int, issuer: Issuer) -> None:
    """With an organization configured, tokens of no or another organization are invalid."""
    auth0 = Auth0("", issuer.audience, "org_1", dev_issuer=issuer.url)
    async with serving(guarded_app(auth0)) as api:
        headers = {"Authorization": f"Bearer {issuer.token(org_id=org_id)}"}
        assert (await api.get("/any/sub", headers=headers)).status_code == status


async def test_apps_in_one_process_do_not_share_what_they_accept(issuer: Issuer) -> None:
    """A token for one app's audience is not good for another app."""
    ours = guarded_app(Auth0(api_audience="https://ours", dev_issuer=issuer.url))
    theirs = guarded_app(Auth0(api_audience="https://theirs", dev_issuer=issuer.url))
    headers = {"Authorization": f"Bearer {issuer.token(aud='https://ours')}"}
    async with serving(ours) as at_ours, serving(theirs) as at_theirs:
        assert (await at_ours.get("/any/sub", headers=headers)).status_code == 200
        assert (await at_theirs.get("/any/sub", headers=headers)).status_code == 401


async def test_a_user_whom_another_auth0_has_verified_is_not_taken_over(issuer: Issuer) -> None:
    """An app may be mounted in another one, which accepts other tokens."""
    own, other = accepting(issuer), accepting(issuer)
    app = guarded_app(own)
    async with other:
        user = await other.verify(issuer.token())

    async def verified_by(auth0: Auth0) -> int:
        async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "dalkit.user": (auth0, user)}, receive, send)

        transport = httpx.ASGITransport(mounted)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.get("/any/sub")).status_code

    assert await verified_by(other) == 401
    assert await verified_by(own) == 200
