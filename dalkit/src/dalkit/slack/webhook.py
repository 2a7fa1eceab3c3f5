"""Posts one message to a Slack webhook."""

import asyncio
import json
import math
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import httpx
from pydantic import BaseModel

TIMEOUT = 5.0
_LONGEST_WAIT = 30.0

Payload = dict[str, Any]


def open_client(timeout: float = TIMEOUT) -> httpx.AsyncClient:
    """Return a client for webhooks: redirects are not followed, `timeout` seconds a step."""
    return httpx.AsyncClient(timeout=timeout, follow_redirects=False)


async def post(client: httpx.AsyncClient, url: str, payload: Payload) -> httpx.Response:
    """Post `payload` and return Slack's answer.

    Raises httpx.HTTPError, or TimeoutError when the whole exchange takes three times the client's
    timeout: httpx's own is per read, and a server may drip.
    """
    content = json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace")
    async with asyncio.timeout(3 * (client.timeout.read or TIMEOUT)):
        return await client.post(url, content=content, headers={"content-type": "application/json"})


async def send_slack_message(
    url: str,
    *,
    blocks: Sequence[BaseModel | Payload],
    text: str | None = None,
    client: httpx.AsyncClient | None = None,
) -> httpx.Response:
    """Send blocks (dicts, or a SlackLogger's models) at once and return Slack's answer.

    Dicts are sent as they are: escape what users typed into them. `text` is what notifications
    show. Raises httpx.HTTPError or TimeoutError when Slack cannot be reached.
    """
    payload: Payload = {"blocks": [_plain(block) for block in blocks]}
    if text is not None:
        payload["text"] = text
    if client is not None:
        return await post(client, url, payload)
    async with open_client() as own:
        return await post(own, url, payload)


def _plain(block: BaseModel | Payload) -> Payload:
    return block.model_dump(exclude_none=True) if isinstance(block, BaseModel) else block


def is_worth_a_retry(response: httpx.Response) -> bool:
    """Tell an overloaded or broken Slack (429, 5xx) from a refusal, which no retry changes."""
    return response.status_code == 429 or response.status_code >= 500


def retry_after(response: httpx.Response | None, default: float) -> float:
    """Return how many seconds to wait: Retry-After if it makes sense (RFC 9110, 10.2.3), capped."""
    value = response.headers.get("retry-after", "") if response is not None else ""
    try:
        seconds = float(value)
    except ValueError:
        seconds = _until(value)
    if not math.isfinite(seconds) or seconds < 0:
        return default
    return min(seconds, _LONGEST_WAIT)


def _until(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - time()
    except (ValueError, TypeError, OverflowError):
        return math.nan
