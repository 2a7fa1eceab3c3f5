"""Proxies and certificates that cannot be used end the start with one sentence."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dalkit import outgoing
from dalkit.auth import Auth0
from dalkit.settings import BadSetting, Settings
from dalkit.slack import SlackNotifier

SETTINGS = Settings(
    _env_file=None,
    environment="local",
    auth0_domain="team.auth0.com",
    auth0_audience="https://api.example.com",
    auth0_dev_issuer=None,
    slack_webhook_url="https://hooks.slack.com/services/T/B/X",
    slack_environments=["local"],
)


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The context is made anew for each test, and for what comes after."""
    for name in outgoing.CERTIFICATES + outgoing.PROXIES:
        monkeypatch.delenv(name, raising=False)
    outgoing.tls.cache_clear()
    yield
    outgoing.tls.cache_clear()


@pytest.mark.parametrize("part", ["auth", "slack"])
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("SSL_CERT_FILE", "/nowhere", "No such file or directory"),
        ("SSL_CERT_FILE", "{empty}", "no certificate or crl found"),
        ("SSLKEYLOGFILE", "/nowhere/log", "No such file or directory: '/nowhere/log'"),
        ("HTTPS_PROXY", "socks5://u:hunter-two@127.0.0.1:1", "install httpx using .*socks"),
        ("all_proxy", "ftp://u:hunter-two@127.0.0.1", "write a proxy as http://"),
        ("HTTPS_PROXY", "http://u:hunter#two@127.0.0.1:1", "write a proxy as http://"),
        ("http_proxy", "http://u:hunter/two@127.0.0.1:1", "write a proxy as http://"),
        ("NO_PROXY", "hunter:two", "and NO_PROXY as names of hosts"),
    ],
)
def test_is_named(
    part: str, name: str, value: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As any other bad setting is; a password is not repeated."""
    (tmp_path / "empty").touch()
    monkeypatch.setenv(name, value.format(empty=tmp_path / "empty"))
    with pytest.raises(BadSetting, match=rf"\n  {name} cannot be used: .*{reason}") as caught:
        if part == "auth":
            Auth0.from_settings(SETTINGS)
        else:
            SlackNotifier.from_settings(SETTINGS, service="service", version="1")
    assert "hunter" not in str(caught.value)


async def test_the_development_issuer_needs_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is on this machine, and its URL is http."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    issuer = {"auth0_dev_issuer": "http://127.0.0.1:1/", "slack_webhook_url": None}
    async with Auth0.from_settings(SETTINGS.model_copy(update=issuer)) as auth0:
        assert auth0.for_development
