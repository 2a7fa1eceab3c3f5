"""Every form that the standards allow gets in."""

import time
from collections.abc import Callable

import httpx
import pytest

from dalkit.dev.issuer import Issuer

from .forge import Forger

GOOD: dict[str, Callable[[Forger], str]] = {
    "plain": lambda forge: forge.token(),
    "of the development issuer": lambda forge: forge.issuer.token(sub="auth0|1"),
    "typ absent": lambda forge: forge.token(forge.header(typ=...)),
    "typ at+jwt": lambda forge: forge.token(forge.header(typ="at+jwt")),
    "typ application/at+jwt": lambda forge: forge.token(forge.header(typ="application/at+JWT")),
    "typ in lower case": lambda forge: forge.token(forge.header(typ="jwt")),
    "jku and x5c, not read": lambda forge: forge.token(
        forge.header(
            jku="http://127.0.0.1:1/", x5u="http://127.0.0.1:1/", x5c=["?"], jwk={"kty": 1}
        )
    ),
    "aud a list": lambda forge: forge.token(
        payload=forge.payload(aud=["https://else.example.com", forge.issuer.audience])
    ),
    "exp a float": lambda forge: forge.token(payload=forge.payload(exp=time.time() + 9.5)),
    "exp 10**400": lambda forge: forge.token(payload=forge.payload(exp=10**400)),
    "expired within the leeway": lambda forge: forge.token(
        payload=forge.payload(exp=int(time.time()) - 3)
    ),
    "issued ahead within the leeway": lambda forge: forge.token(
        payload=forge.payload(iat=int(time.time()) + 5, nbf=int(time.time()) + 5)
    ),
    "scope and permissions of other types": lambda forge: forge.token(
        payload=forge.payload(scope={"read:books": 1}, permissions="read:books")
    ),
    "claims that mean nothing here": lambda forge: forge.token(
        payload=forge.payload(scopes=[1], user={}, nonsense="\ud800")
    ),
}


@pytest.mark.parametrize("form", GOOD)
async def test_token_gets_in(form: str, issuer: Issuer, api: httpx.AsyncClient) -> None:
    """The answer is the subject, as the token has it."""
    headers = {"Authorization": f"Bearer {GOOD[form](Forger(issuer))}"}
    response = await api.get("/any/sub", headers=headers)
    assert (response.status_code, response.json()) == (200, "auth0|1")


@pytest.mark.parametrize("scheme", ["bearer ", "BEARER ", "Bearer  "])
async def test_scheme_is_in_any_case(scheme: str, issuer: Issuer, api: httpx.AsyncClient) -> None:
    """RFC 9110 section 11.1: the scheme is case-insensitive, one or more spaces follow."""
    headers = {"Authorization": f"{scheme}{issuer.token()}"}
    assert (await api.get("/any/sub", headers=headers)).status_code == 200


async def test_subject_is_text_of_any_script(issuer: Issuer, api: httpx.AsyncClient) -> None:
    """An enterprise connection may put a name into it."""
    headers = {"Authorization": f"Bearer {issuer.token(sub='ad|Jörg 漢')}"}
    assert (await api.get("/any/sub", headers=headers)).json() == "ad|Jörg 漢"
