"""A verified token is not verified again, and never believed longer than it should be."""

import time
from types import SimpleNamespace

import pytest

from dalkit.auth import Auth0, User
from dalkit.auth import auth0 as module
from dalkit.auth.errors import InvalidToken
from dalkit.auth.token import LEEWAY
from dalkit.dev.issuer import Issuer

from .conftest import accepting, guarded_app, serving, status
from .forge import Forger


async def remembered(auth0: Auth0, tokens: list[str], *, of: list[str]) -> list[str]:
    """Return which tokens give the very user again that they gave before, `of` all that came."""
    users = {token: await auth0.verify(token) for token in of}
    return [token for token in tokens if await auth0.verify(token) is users[token]]


async def test_size_is_bounded(issuer: Issuer) -> None:
    """The oldest leaves."""
    one, two, three = (issuer.token(n=n) for n in range(3))
    async with accepting(issuer, cache_size=2) as auth0:
        assert await remembered(auth0, [two, three, one], of=[one, two, three]) == [two, three]


async def test_size_zero_keeps_nothing(issuer: Issuer) -> None:
    """That is how the cache is switched off."""
    async with accepting(issuer, cache_size=0) as auth0:
        token = issuer.token()
        assert await remembered(auth0, [token], of=[token]) == []


async def test_exp_beyond_float_is_not_an_error(issuer: Issuer) -> None:
    """An int of JSON has any size."""
    forge = Forger(issuer)
    async with accepting(issuer) as auth0:
        token = forge.token(payload=forge.payload(exp=10**400))
        assert await remembered(auth0, [token], of=[token]) == [token]


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
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: end - 0.01))
        assert await auth0.verify(token) is user
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: end))
        assert await auth0.verify(token) is not user


async def test_refused_token_takes_no_room(issuer: Issuer) -> None:
    """A flood of bad tokens does not push good ones out."""
    async with accepting(issuer, cache_size=1) as auth0:
        token = issuer.token()
        user = await auth0.verify(token)
        with pytest.raises(InvalidToken):
            await auth0.verify(issuer.token(aud="else"))
        assert await auth0.verify(token) is user


async def test_a_verify_of_one_s_own_is_asked_for_each_request(issuer: Issuer) -> None:
    """One that knows of tokens that were taken back, for example."""
    revoked: set[str] = set()

    class Revoking(Auth0):
        async def verify(self, token: str) -> User:
            if token in revoked:
                raise InvalidToken("was taken back")
            return await super().verify(token)

    token = issuer.token()
    own = Revoking(api_audience=issuer.audience, dev_issuer=issuer.url)
    async with serving(guarded_app(own)) as api:
        assert [await status(api, token) for _ in range(2)] == [200, 200]
        revoked.add(token)
        assert await status(api, token) == 401
