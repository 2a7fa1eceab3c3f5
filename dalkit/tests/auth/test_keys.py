"""One fetch at a time, whoever waits for it."""

import asyncio
from typing import Any

import pytest

from dalkit.auth.errors import KeysUnavailable
from dalkit.auth.keys import MAX_ABSENT, SigningKeys
from dalkit.dev.issuer import Issuer


class Source:
    """Gives the key set once it is opened."""

    def __init__(self) -> None:
        self.signer = Issuer()
        self.opened = asyncio.Event()
        self.fetches = 0
        self.broken = False

    async def fetch(self) -> Any:
        """Return the key set."""
        self.fetches += 1
        key_set = self.signer.key_set()
        await self.opened.wait()
        return None if self.broken else key_set


async def test_a_cancelled_waiter_harms_no_other() -> None:
    """The fetch belongs to all who wait for it, not to who came first."""
    source = Source()
    keys = SigningKeys(source.fetch)
    first, second = (asyncio.create_task(keys.get(source.signer.kid)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    source.opened.set()
    assert await second is not None
    assert source.fetches == 1


async def test_closing_ends_the_fetch_under_way() -> None:
    """Nothing is left running in the event loop."""
    source = Source()
    keys = SigningKeys(source.fetch)
    before = asyncio.all_tasks()
    keys.start_refresh()
    assert len(asyncio.all_tasks() - before) == 1
    await keys.close()
    assert not asyncio.all_tasks() - before


async def test_an_unexpected_error_is_not_swallowed() -> None:
    """A mistake of ours is not an outage of the key server."""

    async def fetch() -> Any:
        raise RuntimeError("not open")

    with pytest.raises(RuntimeError):
        await SigningKeys(fetch).get("kid")


async def test_too_old_keys_are_not_used() -> None:
    """The age counts from the last good answer."""
    source, now = Source(), [0.0]
    source.opened.set()
    keys = SigningKeys(source.fetch, clock=lambda: now[0])
    assert await keys.get(source.signer.kid) is not None
    source.broken = True
    now[0] += 86_401
    with pytest.raises(KeysUnavailable):
        await keys.get(source.signer.kid)


async def test_a_key_that_is_new_while_keys_are_fetched_is_found() -> None:
    """That fetch began too early to prove that there is no such key."""
    source, now = Source(), [0.0]
    source.opened.set()
    keys = SigningKeys(source.fetch, clock=lambda: now[0])
    assert await keys.get(source.signer.kid) is not None
    source.opened.clear()
    now[0] += 601
    keys.start_refresh()
    await asyncio.sleep(0)
    source.signer.rotate()
    now[0] += 1
    waiting = asyncio.create_task(keys.get(source.signer.kid))
    await asyncio.sleep(0)
    source.opened.set()
    assert await waiting is not None
    assert source.fetches == 3


async def test_made_up_key_ids_take_a_bounded_room() -> None:
    """However many there are."""
    source = Source()
    source.opened.set()
    keys = SigningKeys(source.fetch, clock=lambda: 0.0)
    for n in range(2 * MAX_ABSENT):
        assert await keys.get(str(n)) is None
    assert len(keys._absent) == MAX_ABSENT


async def test_closing_ends_the_pause_of_those_who_wait() -> None:
    """And opened again, it looks again."""
    source, now = Source(), [0.0]
    source.opened.set()
    keys = SigningKeys(source.fetch, clock=lambda: now[0])
    for kid in ("first", "second"):
        assert await keys.get(kid) is None
        now[0] += 0.1
    waiting = asyncio.create_task(keys.get("third"))
    await asyncio.sleep(0)
    before = source.fetches
    await keys.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    now[0] += 10
    assert await keys.get("fourth") is None
    assert source.fetches == before + 1
