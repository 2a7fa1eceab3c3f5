"""Whatever the key server does: no wrong key, no 500, no waiting, no fetch too many."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from {{ cookiecutter.__package_name }}.auth import Auth0, fetch

from . import key_server as behaviours
from .conftest import guarded_app, serving
from .forge import Forger
from .key_server import Behaviour, KeyServer, key_server
from dev.issuer import Issuer

BROKEN = [
    behaviours.error,
    behaviours.html,
    behaviours.empty,
    behaviours.deep,
    behaviours.huge,
    behaviours.compressed,
    behaviours.redirect,
    behaviours.slow,
    behaviours.dripping,
    behaviours.hang_up,
]


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def signer() -> Issuer:
    """An issuer whose keys the misbehaving server serves."""
    return Issuer()


@pytest.fixture
def server(signer: Issuer) -> Iterator[KeyServer]:
    """A key server on the loopback with the signer's keys."""
    with key_server() as it:
        signer.url = it.url
        it.key_set = signer.key_set()
        yield it


@pytest.fixture
def clock() -> Clock:
    """The clock of the keys."""
    return Clock()


@pytest.fixture
def guarded(server: KeyServer, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Auth0:
    """Accept tokens of the signer; the timeout is short, the clock stands still."""
    monkeypatch.setattr(fetch, "TIMEOUT", 0.25)
    return Auth0(api_audience="https://api.example.com", dev_issuer=server.url, clock=clock)


@pytest.fixture
async def keyed(guarded: Auth0) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the small app whose keys come from the server."""
    async with serving(guarded_app(guarded)) as api:
        yield api


async def status(api: httpx.AsyncClient, token: str) -> int:
    """Return how the guarded route answers a token."""
    headers = {"Authorization": f"Bearer {token}"}
    return (await api.get("/any/sub", headers=headers)).status_code


@pytest.mark.parametrize("behaviour", BROKEN, ids=lambda it: it.__name__)
async def test_never_had_keys(
    behaviour: Behaviour, server: KeyServer, signer: Issuer, guarded: Auth0, clock: Clock
) -> None:
    """503 with Retry-After, at once for those who come later, until the server is well again."""
    server.behave = behaviour
    async with serving(guarded_app(guarded)) as api:
        assert (await api.get("/public")).status_code == 200
        response = await api.get("/any/sub", headers={"Authorization": f"Bearer {signer.token()}"})
        assert response.status_code == 503
        assert response.headers["retry-after"] == "5"
        assert response.headers["cache-control"] == "no-store"
        assert (await api.get("/any/sub")).status_code == 401
        requests = server.requests
        assert {await status(api, signer.token()) for _ in range(5)} == {503}
        assert server.requests == requests
        server.behave = behaviours.good
        clock.now += 5
        assert await status(api, signer.token()) == 200


@pytest.mark.parametrize("behaviour", BROKEN, ids=lambda it: it.__name__)
async def test_known_keys_outlive_an_outage(
    behaviour: Behaviour,
    server: KeyServer,
    signer: Issuer,
    keyed: httpx.AsyncClient,
    clock: Clock,
) -> None:
    """They are served for 24 hours from the last good answer, and not after that."""
    token = signer.token()
    assert await status(keyed, token) == 200
    server.behave = behaviour
    clock.now += 601
    assert await status(keyed, token) == 200
    clock.now += 86_400 - 602
    assert await status(keyed, token) == 200
    clock.now += 6
    assert await status(keyed, token) == 503


async def test_an_outage_slows_nobody_down(
    server: KeyServer,
    signer: Issuer,
    keyed: httpx.AsyncClient,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once it is known, the keys are asked for behind the requests' backs."""
    assert await status(keyed, signer.token()) == 200
    server.behave = behaviours.error
    clock.now += 601
    assert await status(keyed, signer.token()) == 200
    monkeypatch.setattr(fetch, "TIMEOUT", 30)
    server.behave = behaviours.slow
    clock.now += 6
    began = time.perf_counter()
    assert await status(keyed, signer.token()) == 200
    assert time.perf_counter() - began < behaviours.SLOW


async def test_no_server_at_all(signer: Issuer, free_tcp_port: int) -> None:
    """A refused connection is an outage like any other."""
    signer.url = f"http://127.0.0.1:{free_tcp_port}/"
    auth0 = Auth0(api_audience="https://api.example.com", dev_issuer=signer.url)
    async with serving(guarded_app(auth0)) as api:
        assert (await api.get("/public")).status_code == 200
        assert await status(api, signer.token()) == 503


async def test_the_event_loop_is_never_blocked(
    server: KeyServer, signer: Issuer, guarded: Auth0
) -> None:
    """Other requests go on while the keys are waited for."""
    server.behave = behaviours.slow
    async with serving(guarded_app(guarded)) as api:
        waiting = asyncio.create_task(status(api, signer.token()))
        others = 0
        while not waiting.done():
            others += (await api.get("/public")).status_code == 200
        assert await waiting == 503
        assert others > 5


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
    tokens = [stranger.token(n=n) for n in range(20)]
    assert await status(keyed, tokens[0]) == 401
    before = server.requests
    for _ in range(60):
        clock.now += 1
        assert set(await asyncio.gather(*[status(keyed, token) for token in tokens])) == {401}
    assert 4 <= server.requests - before <= 6


async def test_key_server_is_asked_again_only_when_due(
    server: KeyServer, signer: Issuer, keyed: httpx.AsyncClient, clock: Clock
) -> None:
    """One fetch per time to live while all is well."""
    for _ in range(30):
        clock.now += 60
        assert await status(keyed, signer.token()) == 200
    assert server.requests == 3
