"""New keys are seen, removed ones are not used, and the key server is not flooded."""

import asyncio
import time

import httpx
import pytest

from dalkit.auth import Auth0, keys
from dalkit.dev.issuer import Issuer

from . import key_server as behaviours
from .conftest import Clock, accepting, guarded_app, serving, status
from .forge import Forger
from .key_server import KeyServer


async def test_concurrent_requests_share_one_fetch(
    server: KeyServer, signer: Issuer, keyed: httpx.AsyncClient
) -> None:
    """However many tokens arrive before there are keys."""
    statuses = await asyncio.gather(*[status(keyed, signer.token()) for _ in range(50)])
    assert set(statuses) == {200}
    assert server.requests == 1


async def test_rotation_is_seen_at_once(
    server: KeyServer, signer: Issuer, keyed: httpx.AsyncClient, clock: Clock
) -> None:
    """A token of a new key gets in; the old key is gone with the old key set."""
    old = signer.token()
    assert await status(keyed, old) == 200
    signer.rotate()
    server.key_set = signer.key_set()
    clock.now += 1
    assert await status(keyed, signer.token()) == 200
    assert await status(keyed, old) == 401


async def test_rotation_is_seen_by_all_who_come_at_once(
    server: KeyServer, signer: Issuer, keyed: httpx.AsyncClient, clock: Clock
) -> None:
    """One fetch, and nobody is refused because another one asked for it."""
    assert await status(keyed, signer.token()) == 200
    signer.rotate()
    server.key_set = signer.key_set()
    clock.now += 1
    assert await asyncio.gather(*[status(keyed, signer.token()) for _ in range(10)]) == [200] * 10
    assert server.requests == 2


async def test_removed_key_stops_working(
    server: KeyServer, signer: Issuer, keyed: httpx.AsyncClient, clock: Clock
) -> None:
    """After the time to live, also for tokens that were verified before."""
    old = signer.token()
    assert await status(keyed, old) == 200
    signer.rotate()
    server.key_set = signer.key_set()
    clock.now += 599
    assert await status(keyed, old) == 200
    clock.now += 2
    assert await status(keyed, old) == 401


async def test_removed_key_stops_working_after_an_outage_too(
    server: KeyServer, signer: Issuer, guarded: Auth0, keyed: httpx.AsyncClient, clock: Clock
) -> None:
    """An outage that is over prolongs nothing."""
    old = signer.token()
    assert await status(keyed, old) == 200
    server.behave = behaviours.error
    clock.now += 601
    assert await status(keyed, old) == 200
    server.behave = behaviours.good
    await guarded.keys.refresh()
    signer.rotate()
    server.key_set = signer.key_set()
    clock.now += 601
    assert await status(keyed, old) == 401


async def test_key_that_is_replaced_under_its_name(
    server: KeyServer, signer: Issuer, keyed: httpx.AsyncClient, clock: Clock
) -> None:
    """A token that was verified with the old key is not believed because of its `kid`."""
    old, kid = signer.token(), signer.kid
    assert await status(keyed, old) == 200
    signer.rotate()
    signer.kid = kid
    server.key_set = signer.key_set()
    clock.now += 601
    assert await status(keyed, old) == 401
    assert await status(keyed, signer.token()) == 200


@pytest.mark.parametrize("alg", ["none", "HS256", "RS384"])
async def test_token_that_cannot_be_good_fetches_nothing(
    alg: str, server: KeyServer, signer: Issuer, keyed: httpx.AsyncClient, clock: Clock
) -> None:
    """Its header is refused before its key is looked for."""
    assert await status(keyed, signer.token()) == 200
    clock.now += 1
    forge = Forger(signer)
    assert await status(keyed, forge.token(forge.header(alg=alg, kid="unknown"))) == 401
    assert server.requests == 1


async def test_flood_of_unknown_keys(
    server: KeyServer, keyed: httpx.AsyncClient, clock: Clock
) -> None:
    """At most a few fetches a minute, at once and one after the other; all are 401."""
    stranger = Issuer()
    stranger.url = server.url
    tokens = [stranger.token(n=n) for n in range(8)]
    assert await status(keyed, tokens[0]) == 401
    assert server.requests == 1  # those keys were just fetched
    for _ in range(60):
        clock.now += 1
        assert set(await asyncio.gather(*[status(keyed, token) for token in tokens])) == {401}
    assert 5 <= server.requests <= 7


async def test_key_server_is_asked_again_only_when_due(
    server: KeyServer, signer: Issuer, keyed: httpx.AsyncClient, clock: Clock
) -> None:
    """One fetch per time to live while all is well."""
    for _ in range(28):
        clock.now += 60
        assert await status(keyed, signer.token()) == 200
    assert server.requests == 3


async def test_nobody_gets_another_ones_good_token_refused(
    server: KeyServer, signer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made-up key ids cost the others a wait, and the key server a fetch for each PAUSE."""
    monkeypatch.setattr(keys, "PAUSE", 0.2)
    forge = Forger(signer)
    waves = [[forge.token(forge.header(kid=f"{m} {n}")) for n in range(10)] for m in range(6)]
    async with serving(guarded_app(accepting(signer))) as api:
        assert await status(api, signer.token()) == 200
        began = time.monotonic()
        for wave in waves[1:]:
            assert set(await asyncio.gather(*[status(api, token) for token in wave])) == {401}
        last = [asyncio.create_task(status(api, token)) for token in waves[0]]
        signer.rotate()
        server.key_set = signer.key_set()
        rotated = await asyncio.gather(*[status(api, signer.token(n=n)) for n in range(5)])
        assert rotated == [200] * 5
        assert set(await asyncio.gather(*last)) == {401}
        assert server.requests <= 3 + (time.monotonic() - began) / 0.2


async def test_what_was_not_found_is_refused_at_once(
    server: KeyServer, signer: Issuer, keyed: httpx.AsyncClient, clock: Clock
) -> None:
    """Within 15 seconds, also while others wait; then it is looked for again, and found."""
    assert await status(keyed, signer.token()) == 200
    signer.rotate()
    clock.now += 1
    assert await status(keyed, signer.token()) == 401
    server.key_set = signer.key_set()
    clock.now += 14
    assert await status(keyed, signer.token()) == 401
    assert server.requests == 2
    clock.now += 1
    assert await status(keyed, signer.token()) == 200


async def test_an_unknown_key_in_an_outage_is_not_called_invalid(
    server: KeyServer, signer: Issuer, keyed: httpx.AsyncClient, clock: Clock
) -> None:
    """503, at once for those who come later: it may be a new one. The known keys are good."""
    known = signer.token()
    assert await status(keyed, known) == 200
    signer.rotate()
    server.behave = behaviours.error
    clock.now += 1
    assert [await status(keyed, signer.token()) for _ in range(5)] == [503] * 5
    assert server.requests == 2
    assert await status(keyed, known) == 200
    server.behave = behaviours.good
    server.key_set = signer.key_set()
    clock.now += 5
    assert await status(keyed, signer.token()) == 200
