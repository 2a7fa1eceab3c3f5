"""Whatever the key server does: no 500, no waiting, and the known keys stay."""

import asyncio
import time
from collections.abc import Callable

import httpx
import pytest

from dalkit.auth import Auth0
from dalkit.dev.issuer import Issuer

from . import key_server as behaviours
from .conftest import Clock, guarded_app, serving, status
from .key_server import Behaviour, KeyServer

SHORT, LONG = 0.25, 30  # seconds
BROKEN = [
    behaviours.error,
    behaviours.html,
    behaviours.empty,
    behaviours.deep,
    behaviours.huge,
    behaviours.compressed,
    behaviours.redirect,
    behaviours.lost,
    behaviours.slow,
    behaviours.dripping,
    behaviours.hang_up,
]


@pytest.mark.parametrize("behaviour", BROKEN, ids=lambda it: it.__name__)
async def test_never_had_keys(
    behaviour: Behaviour,
    server: KeyServer,
    signer: Issuer,
    guarded: Auth0,
    clock: Clock,
    patience: Callable[[float], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """503 with Retry-After, at once for those who come later, until the server is well again."""
    server.behave = behaviour
    patience(SHORT)
    async with serving(guarded_app(guarded)) as api:
        assert (await api.get("/public")).status_code == 200
        response = await api.get("/any/sub", headers={"Authorization": f"Bearer {signer.token()}"})
        assert response.status_code == 503
        assert response.headers["retry-after"] == "5"
        assert response.headers["cache-control"] == "no-store"
        said = caplog.records[-1].getMessage()
        assert said.startswith(f"signing keys not fetched from {server.url}.well-known/jwks.json: ")
        assert not said.endswith(": ")
        assert (await api.get("/any/sub")).status_code == 401
        requests = server.requests
        clock.now += 4
        assert {await status(api, signer.token()) for _ in range(5)} == {503}
        assert server.requests == requests
        server.behave = behaviours.good
        patience(LONG)
        clock.now += 1
        assert await status(api, signer.token()) == 200


@pytest.mark.parametrize("behaviour", BROKEN, ids=lambda it: it.__name__)
async def test_known_keys_outlive_an_outage(
    behaviour: Behaviour,
    server: KeyServer,
    signer: Issuer,
    keyed: httpx.AsyncClient,
    clock: Clock,
    patience: Callable[[float], None],
) -> None:
    """They are served for 24 hours from the last good answer, and not after that."""
    token = signer.token()
    assert await status(keyed, token) == 200
    server.behave = behaviour
    patience(SHORT)
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
    patience: Callable[[float], None],
) -> None:
    """Once it is known, the keys are asked for behind the requests' backs."""
    assert await status(keyed, signer.token()) == 200
    server.behave = behaviours.error
    clock.now += 601
    assert await status(keyed, signer.token()) == 200
    patience(LONG)
    server.behave = behaviours.slow
    clock.now += 6
    began = time.perf_counter()
    assert await status(keyed, signer.token()) == 200
    assert time.perf_counter() - began < behaviours.SLOW


async def test_a_silent_key_server_slows_nobody_down(
    server: KeyServer, signer: Issuer, guarded: Auth0, keyed: httpx.AsyncClient, clock: Clock
) -> None:
    """Keys are fetched before they are too old: who asks meanwhile is answered meanwhile."""
    token = signer.token()
    user = await guarded.verify(token)
    server.behave = behaviours.held
    clock.now += 541
    assert [await status(keyed, token) for _ in range(5)] == [200] * 5
    assert await guarded.verify(token) is user  # as ever, it was not verified again
    assert await asyncio.to_thread(server.held.wait, 30)
    server.opened.set()
    await guarded.keys.refresh()  # the one that is under way
    assert server.requests == 2


async def test_no_server_at_all(signer: Issuer, free_tcp_port: int) -> None:
    """A refused connection is an outage like any other."""
    signer.url = f"http://127.0.0.1:{free_tcp_port}/"
    auth0 = Auth0(api_audience="https://api.example.com", dev_issuer=signer.url)
    async with serving(guarded_app(auth0)) as api:
        assert (await api.get("/public")).status_code == 200
        assert await status(api, signer.token()) == 503


async def test_the_event_loop_is_never_blocked(
    server: KeyServer, signer: Issuer, guarded: Auth0, patience: Callable[[float], None]
) -> None:
    """Other requests go on while the keys are waited for."""
    server.behave = behaviours.slow
    patience(1)
    async with serving(guarded_app(guarded)) as api:
        waiting = asyncio.create_task(status(api, signer.token()))
        others = 0
        while not waiting.done():
            others += (await api.get("/public")).status_code == 200
        assert await waiting == 503
        assert others > 5


async def test_stopping_ends_the_fetch(server: KeyServer, guarded: Auth0) -> None:
    """The service does not wait for the key server when it stops."""
    server.behave = behaviours.slow
    before = asyncio.all_tasks()
    async with guarded:
        await asyncio.sleep(0)
        assert asyncio.all_tasks() - before
    assert not asyncio.all_tasks() - before
