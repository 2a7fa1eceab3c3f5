"""The issuer's signing keys, kept fresh: one fetch for everyone, stale ones in an outage."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from ..ratelimit import TokenBucket
from .jwks import usable_keys

logger = logging.getLogger(__name__)


class KeysUnavailable(Exception):
    """There is no key to verify with: none was ever fetched, or the last ones are too old."""


class SigningKeys:
    """Keys by `kid`.

    Fetched when older than `ttl`. While the key server fails they are served up to `max_stale` old
    and fetched again every `retry` seconds, in the background. An unknown `kid` also fetches: twice
    at once (a rotation is seen immediately), then every `unknown_every` seconds, whatever the
    number of requests. All durations are seconds.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Any]],
        *,
        ttl: float = 600,
        max_stale: float = 86_400,
        retry: float = 5,
        unknown_every: float = 15,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._ttl, self._max_stale, self._retry = ttl, max_stale, retry
        self._clock = clock
        self._unknown = TokenBucket(burst=2, every=unknown_every, clock=clock)
        self._keys: dict[str, RSAPublicKey] = {}
        self._fetched_at = self._tried_at = -math.inf
        self._failing = False
        self._refreshing: asyncio.Task[None] | None = None

    async def get(self, kid: str) -> RSAPublicKey | None:
        """Return the key, None when the issuer has no such key; raises KeysUnavailable."""
        arrived = self._clock()
        if self._age() > self._ttl:
            await self._renew()
        if self._is_unknown(kid) and self._tried_at < arrived and self._may_look_again():
            await self.refresh()
        if self._age() > self._max_stale:
            raise KeysUnavailable
        return self._keys.get(kid)

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
        """Cancel the fetch that is under way, if any, and wait for its end."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])

    async def _renew(self) -> None:
        if not self._failing:
            await self.refresh()
        elif self._age() <= self._max_stale:
            if self._may_retry():
                self.start_refresh()  # not awaited: a hung key server must not slow good tokens
        elif self._may_retry() or self._under_way():
            await self.refresh()

    async def _refresh(self) -> None:
        try:
            self._keys = usable_keys(await self._fetch())
        except (httpx.HTTPError, OSError, ValueError) as error:  # OSError includes TimeoutError
            self._failing = True
            logger.warning("signing keys not fetched: %s: %s", type(error).__name__, error)
        else:
            self._failing, self._fetched_at = False, self._clock()
        finally:
            self._tried_at = self._clock()

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _is_unknown(self, kid: str) -> bool:
        return bool(self._keys) and kid not in self._keys

    def _may_retry(self) -> bool:
        return self._clock() - self._tried_at >= self._retry

    def _under_way(self) -> bool:
        return self._refreshing is not None and not self._refreshing.done()

    def _may_look_again(self) -> bool:
        return self._under_way() or self._unknown.wait() == 0
