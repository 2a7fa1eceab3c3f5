"""The issuer's signing keys, kept fresh: one fetch for everyone, stale ones in an outage."""

import asyncio
import json
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import RSAAlgorithm
from pydantic import BaseModel, ConfigDict

from .errors import KeysUnavailable

logger = logging.getLogger(__name__)

# Seconds.
TTL = 600  # keys are fetched when they are older
AHEAD = 60  # and in the background so long before, which nobody waits for
MAX_STALE = 86_400  # while the key server fails, they are used until they are as old
RETRY = 5  # and fetched again as often, in the background
PAUSE = 2  # between fetches for the sake of keys that are not known
ABSENT_FOR = 15  # what such a fetch did not find is not looked for again
TIMEOUT = 3.0  # of a whole fetch

MAX_ABSENT = 256  # key ids
MAX_BYTES = 128 * 1024  # a tenant's key set has 3 KB
MIN_KEY_BITS = 2048

# OSError includes TimeoutError. httpx looks where a redirect leads although it does not follow it.
OUTAGE = (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError)


class SigningKeys:
    """Keys by `kid`.

    A token may name a key that is not known: a new one, or anything that an attacker writes. Only a
    fetch that begins later can tell, so such a token waits for one, and all that wait share it.
    Whoever makes up key ids delays others by PAUSE, and cannot get a good token refused.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Any]],
        *,
        url: str = "the issuer",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`url` is where `fetch` goes, for the log."""
        self._fetch, self._url, self._clock = fetch, url, clock
        self._keys: dict[str, RSAPublicKey] = {}
        self._absent: dict[str, float] = {}  # key ids that the issuer did not have, and when
        self._begun_at = -math.inf  # of the last good fetch; the next ones are when one has ended
        self._fetched_at = self._tried_at = self._looked_at = -math.inf
        self._failing = False
        self._refreshing: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    async def get(self, kid: str) -> RSAPublicKey | None:
        """Return the key, None when the issuer has no such key; raises KeysUnavailable."""
        arrived = self._clock()
        if self._age() > TTL:
            await self._renew()
            if self._age() > MAX_STALE:
                raise KeysUnavailable
        elif self._age() > TTL - AHEAD and self._may_retry():
            self.start_refresh()
        if kid not in self._keys and not self._is_absent(kid, arrived):
            await self._look_for(kid)
            if kid not in self._keys and not self._is_absent(kid, arrived):
                raise KeysUnavailable  # the fetch failed: nothing is known about this key
        return self._keys.get(kid)

    def at_hand(self, kid: str) -> RSAPublicKey | None:
        """Return the key where `get` would at once, or None: ask that."""
        return self._keys.get(kid) if self._age() <= TTL - AHEAD else None

    async def refresh(self) -> None:
        """Fetch now, or wait for the fetch that is under way. A failure keeps the old keys."""
        # The shield: a caller that is cancelled must not take the fetch from the other callers.
        self.start_refresh()
        if self._refreshing is not None:
            await asyncio.shield(self._refreshing)

    def start_refresh(self) -> None:
        """Fetch in the background, unless a fetch is under way."""
        if not self._under_way():
            self._refreshing = asyncio.create_task(self._refresh())

    async def close(self) -> None:
        """Cancel what is under way, if anything, and wait for its end."""
        for task in (self._looking, self._refreshing):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        self._looking = self._refreshing = None

    async def _renew(self) -> None:
        if self._failing and not self._may_retry() and not self._under_way():
            return
        self.start_refresh()
        if not self._failing or self._age() > MAX_STALE:
            await self.refresh()  # otherwise a hung key server must not slow good tokens

    async def _look_for(self, kid: str) -> None:
        if self._under_way():
            await self.refresh()  # it may bring the key, but began too early to prove its absence
        if kid not in self._keys and (not self._failing or self._may_retry()):
            if self._looking is None:
                self._looking = asyncio.create_task(self._look_after_pause())
            await asyncio.shield(self._looking)

    async def _look_after_pause(self) -> None:
        try:
            await asyncio.sleep(max(0, self._looked_at + PAUSE - self._clock()))
            if self._under_way():
                await self.refresh()
        finally:
            self._looking = None  # who comes from here on has to wait for another one
        self._looked_at = self._clock()
        await self.refresh()

    async def _refresh(self) -> None:
        begun_at = self._clock()
        try:
            self._keys = usable_keys(await self._fetch())
        except OUTAGE as error:
            self._failing = True
            late = f"no answer within {TIMEOUT:g} seconds"
            reason = late if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            logger.warning("signing keys not fetched from %s: %s", self._url, reason)
        else:
            self._failing, self._fetched_at, self._begun_at = False, self._clock(), begun_at
        finally:
            self._tried_at = self._clock()

    def _is_absent(self, kid: str, arrived: float) -> bool:
        """Whether a fetch that began after `arrived`, or not long before, has shown it."""
        if self._begun_at >= arrived:
            self._absent.pop(kid, None)  # so that the order is that of time
            self._absent[kid] = self._begun_at
            if len(self._absent) > MAX_ABSENT:
                del self._absent[next(iter(self._absent))]
        return arrived - self._absent.get(kid, -math.inf) < ABSENT_FOR

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _may_retry(self) -> bool:
        return self._clock() - self._tried_at >= RETRY

    def _under_way(self) -> bool:
        return self._refreshing is not None and not self._refreshing.done()


async def fetch_key_set(client: httpx.AsyncClient, url: str) -> Any:
    """Return the JSON value at `url`; `client` must not follow redirects.

    Raises TimeoutError, httpx.HTTPError, httpx.InvalidURL for where it redirects to, OSError, or
    ValueError for an answer that is not a JSON value with status 200 in at most MAX_BYTES.
    """
    body = bytearray()
    # httpx's own timeouts are per read: a server that drips would hold the request for ever.
    async with asyncio.timeout(TIMEOUT), client.stream("GET", url) as response:
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"the key server answered {response.status_code}")
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_BYTES:
                raise ValueError(f"the key set is larger than {MAX_BYTES} bytes")
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("the key set is nested too deeply") from None


def usable_keys(document: Any) -> dict[str, RSAPublicKey]:
    """Return the usable RS256 keys of a key set (RFC 7517) by `kid`; raises ValueError for none.

    A key that cannot be used is skipped. Two usable keys with one `kid` are ambiguous: neither is.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("the document is not a key set")
    found = [pair for entry in entries if (pair := _usable(entry)) is not None]
    seen = Counter(kid for kid, _ in found)
    keys = {kid: key for kid, key in found if seen[kid] == 1}
    if not keys:
        raise ValueError("the key set has no usable key")
    return keys


class _Entry(BaseModel):
    """What is read of a key; its x5c, x5u and private members never are."""

    model_config = ConfigDict(strict=True)

    kty: Literal["RSA"]
    kid: str
    n: str
    e: str
    use: Literal["sig"] = "sig"
    alg: Literal["RS256"] = "RS256"
    key_ops: list[Any] = ["verify"]


def _usable(value: Any) -> tuple[str, RSAPublicKey] | None:
    try:
        entry = _Entry.model_validate(value)
        key = RSAAlgorithm.from_jwk({"kty": "RSA", "n": entry.n, "e": entry.e})
    except (jwt.PyJWTError, ValueError):
        return None
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_KEY_BITS:
        return None
    return (entry.kid, key) if "verify" in entry.key_ops else None
