"""No forged, broken or odd token gets in, makes a 500 or is repeated by an answer or a log."""

import logging

import httpx
import pytest

from dalkit.dev.issuer import Issuer

from .attacks import ATTACKS
from .forge import Forger


def fragments(token: str) -> list[str]:
    """Return the parts of a token that no answer and no log line may contain."""
    return [part for part in token.split(".") if len(part) >= 8]


async def send(api: httpx.AsyncClient, token: str) -> httpx.Response:
    """Ask for a guarded route; the header may hold any bytes."""
    header = f"Bearer {token}".encode()
    return await api.get("/any/sub", headers=[(b"Authorization", header)])


@pytest.mark.parametrize("attack", ATTACKS)
async def test_is_refused(
    attack: str, issuer: Issuer, api: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Exactly 401 `invalid_token`, never stored, without a byte of the token."""
    caplog.set_level(logging.DEBUG)
    token = ATTACKS[attack](Forger(issuer))
    response = await send(api, token)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith(
        'Bearer realm="api", error="invalid_token", error_description="The access token '
    )
    assert response.headers["cache-control"] == "no-store"
    said = response.text + str(response.headers) + caplog.text
    assert not [part for part in fragments(token) if part in said]


async def test_the_same_token_is_good_without_the_attack(
    issuer: Issuer, api: httpx.AsyncClient
) -> None:
    """The table is about the attacks: what they are made from gets in."""
    response = await send(api, Forger(issuer).token())
    assert (response.status_code, response.json()) == (200, "auth0|1")


def test_there_are_at_least_seventy_attacks() -> None:
    """A table that shrinks is noticed."""
    assert len(ATTACKS) >= 70
