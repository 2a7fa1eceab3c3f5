"""A mistake in the settings stops the start with one sentence that says what to set."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dalkit.auth import Auth0
from dalkit.dev.issuer import Issuer
from dalkit.settings import BadSetting, Settings

AUDIENCE = "https://api.example.com"


def settings(**values: Any) -> Settings:
    """Return settings that are right, and these."""
    right = {"auth0_domain": "team.auth0.com", "auth0_audience": AUDIENCE, "auth0_org_id": None}
    rest = {"auth0_client_id": "", "auth0_dev_issuer": None, "environment": "local"}
    return Settings(_env_file=None, **{**right, **rest, **values})


def test_what_is_missing_is_told_at_once() -> None:
    """A line each, when the service that has an Auth0 starts; others need not set them."""
    with pytest.raises(BadSetting) as caught:
        Auth0.from_settings(settings(auth0_domain="", auth0_audience=""))
    _, domain, audience = str(caught.value).split("\n")
    assert domain.startswith("  AUTH0_DOMAIN is blank: set it to your tenant's domain, ")
    assert audience.startswith("  AUTH0_AUDIENCE is blank: set it to your API's identifier ")


def test_the_development_issuer_stands_in_for_the_domain() -> None:
    """Only the audience is still needed."""
    auth0 = Auth0.from_settings(settings(auth0_domain="", auth0_dev_issuer="http://[::1]:9000/"))
    assert (auth0.issuer, auth0.for_development) == ("http://[::1]:9000/", True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "AUTH0_DOMAIN is blank: .* AUTH0_AUDIENCE is blank: "),
        ({"domain": "team.auth0.com"}, "^AUTH0_AUDIENCE is blank: "),
        ({"domain": " ", "api_audience": AUDIENCE}, "^AUTH0_DOMAIN is blank: "),
        (
            {"domain": "https://team.auth0.com/", "api_audience": AUDIENCE},
            "^AUTH0_DOMAIN is 'https://team.auth0.com/': write the host name only, ",
        ),
        (
            {"domain": "team.auth0.com", "api_audience": AUDIENCE, "client_id": AUDIENCE},
            "^AUTH0_AUDIENCE is the same as AUTH0_CLIENT_ID: ",
        ),
        (
            {"dev_issuer": "http://127.0.0.1:1", "api_audience": AUDIENCE},
            "^AUTH0_DEV_ISSUER is 'http://127.0.0.1:1': write an http URL ending in '/', ",
        ),
        (
            {"dev_issuer": "http://user:hunter-two@127.0.0.1:1/", "api_audience": AUDIENCE},
            r"^AUTH0_DEV_ISSUER is '\*\*\*@127.0.0.1:1/': ",
        ),
    ],
)
def test_one_that_is_made_by_hand_is_checked_alike(values: dict[str, Any], message: str) -> None:
    """With a ValueError: there is no process to end."""
    with pytest.raises(ValueError, match=message):
        Auth0(**values)


def test_service_does_not_start(tmp_path: Path) -> None:
    """One sentence on stderr for each, no traceback, exit status 1."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AUTH0_")}
    command = [sys.executable, "-c", "import tests.service.main"]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, map(os.path.abspath, sys.path)))
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    title, domain, audience = result.stderr.strip().splitlines()
    assert title == "The configuration cannot be used."
    assert domain.startswith("  AUTH0_DOMAIN is blank: set it to ")
    assert audience.startswith("  AUTH0_AUDIENCE is blank: set it to ")


def test_tenant() -> None:
    """The issuer is the tenant's, exactly as it writes itself in its tokens."""
    auth0 = Auth0.from_settings(settings())
    assert (auth0.issuer, auth0.audience) == ("https://team.auth0.com/", AUDIENCE)
    assert not auth0.for_development


def test_blank_organization_is_none() -> None:
    """As it comes from an .env file."""
    assert Auth0.from_settings(settings(auth0_org_id="")).org_id is None


def test_two_names_are_enough() -> None:
    """The rest has defaults."""
    auth0 = Auth0(domain="team.auth0.com", api_audience=AUDIENCE)
    assert auth0.issuer == "https://team.auth0.com/"


async def test_development_issuer_is_loud(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    """Every start says so."""
    with caplog.at_level(logging.WARNING):
        async with Auth0(api_audience=AUDIENCE, dev_issuer=issuer.url):
            pass
    assert f"DEVELOPMENT ONLY: tokens of {issuer.url} are accepted" in caplog.text


async def test_verifying_before_the_lifespan_says_what_to_do(issuer: Issuer) -> None:
    """Not an outage, and not a way in."""
    auth0 = Auth0(api_audience=AUDIENCE, dev_issuer=issuer.url)
    with pytest.raises(RuntimeError, match="in the lifespan"):
        await auth0.verify(issuer.token())
