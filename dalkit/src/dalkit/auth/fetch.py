"""One bounded read of the issuer's key set."""

import asyncio
import json
from typing import Any

import httpx

TIMEOUT = 3.0  # seconds, for the whole exchange
MAX_BYTES = 128 * 1024  # a tenant's key set has 3 KB


def key_client(*, trust_env: bool) -> httpx.AsyncClient:
    """Return the client for `fetch_key_set`: no redirects, no compressed answers."""
    return httpx.AsyncClient(
        timeout=TIMEOUT,
        follow_redirects=False,
        trust_env=trust_env,
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
    )


async def fetch_key_set(client: httpx.AsyncClient, url: str) -> Any:
    """Return the JSON value at `url`.

    Raises TimeoutError, httpx.HTTPError, OSError, or ValueError for an answer that is not a JSON
    value with status 200 in at most MAX_BYTES.
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
