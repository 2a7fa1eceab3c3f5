"""Tokens verified a second of CPU: known ones, new ones, and by PyJWT alone."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

import jwt
from dalkit.auth import Auth0
from dalkit.dev.issuer import Issuer, issuer


def main(rounds: str, number: str) -> dict[str, list[float]]:
    """Return tokens a second of each way, by round."""
    return asyncio.run(_measure(int(rounds), int(number)))


async def _measure(rounds: int, number: int) -> dict[str, list[float]]:
    with issuer() as it:
        auth0 = partial(Auth0, api_audience=it.audience, dev_issuer=it.url)
        async with auth0() as known, auth0(cache_size=0) as forgetful:
            ways = {
                "known": known.verify,
                "new": forgetful.verify,
                "jwt.decode": _plain(it),
            }
            return await _rounds(ways, it.token(["read:items"]), rounds, number)


def _plain(it: Issuer) -> Callable[[str], Awaitable[object]]:
    key = it.key.public_key()

    async def decode(token: str) -> object:
        return jwt.decode(token, key, ["RS256"], audience=it.audience, issuer=it.url)

    return decode


async def _rounds(
    ways: dict[str, Callable[[str], Awaitable[object]]], token: str, rounds: int, number: int
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, verify in ways.items():
            started = time.process_time()
            for _ in range(number):
                await verify(token)
            if turn:  # the first turn fetches the key and fills the cache
                found[name].append(number / (time.process_time() - started))
    return found
