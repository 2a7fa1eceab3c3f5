"""A verified token is not verified again, and never believed longer than it should be."""

import time
from types import SimpleNamespace

import pytest

from dalkit.auth import User, verified
from dalkit.auth.token import LEEWAY, InvalidToken
from dalkit.auth.verified import Verified, VerifiedTokens
from dalkit.dev.issuer import Issuer

from .conftest import accepting
from .forge import new_key

KEY = new_key().public_key()


def entry(seconds: float = 60) -> Verified:
    """Return what a token proved, for so many seconds."""
    return Verified(User(sub="a", scopes=frozenset()), "kid", KEY, time.time() + seconds)


def test_what_was_put_is_found() -> None:
    """By its whole text only."""
    tokens, proved = VerifiedTokens(2), entry()
    tokens.put("one", proved)
    assert tokens.get("one") is proved
    assert tokens.get("One") is None


def test_expired_is_forgotten() -> None:
    """At the moment at which the token itself would be refused."""
    tokens = VerifiedTokens(2)
    tokens.put("one", entry(seconds=-0.001))
    assert tokens.get("one") is None


def test_size_is_bounded() -> None:
    """The oldest leaves."""
    tokens = VerifiedTokens(2)
    for name in ("one", "two", "three"):
        tokens.put(name, entry())
    assert [name for name in ("one", "two", "three") if tokens.get(name)] == ["two", "three"]


def test_size_zero_keeps_nothing() -> None:
    """That is how the cache is switched off."""
    tokens = VerifiedTokens(0)
    tokens.put("one", entry())
    assert tokens.get("one") is None


def test_exp_beyond_float_is_not_an_error() -> None:
    """An int of JSON has any size."""
    tokens = VerifiedTokens(1)
    tokens.put("one", Verified(User(sub="a", scopes=frozenset()), "kid", KEY, 10**400))
    assert tokens.get("one") is not None


async def test_second_verification_gives_the_same_user(issuer: Issuer) -> None:
    """The very object: nothing was decoded."""
    async with accepting(issuer) as auth0:
        token = issuer.token()
        assert await auth0.verify(token) is await auth0.verify(token)


async def test_token_expires_although_it_was_verified(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache lets go of it when the token, leeway included, expires, and not before."""
    async with accepting(issuer) as auth0:
        end = int(time.time()) + 60
        token = issuer.token(exp=end - LEEWAY)
        user = await auth0.verify(token)
        monkeypatch.setattr(verified, "time", SimpleNamespace(time=lambda: end - 0.01))
        assert await auth0.verify(token) is user
        monkeypatch.setattr(verified, "time", SimpleNamespace(time=lambda: end))
        assert await auth0.verify(token) is not user


async def test_refused_token_takes_no_room(issuer: Issuer) -> None:
    """A flood of bad tokens does not push good ones out."""
    async with accepting(issuer, cache_size=1) as auth0:
        token = issuer.token()
        user = await auth0.verify(token)
        with pytest.raises(InvalidToken):
            await auth0.verify(issuer.token(aud="else"))
        assert await auth0.verify(token) is user
