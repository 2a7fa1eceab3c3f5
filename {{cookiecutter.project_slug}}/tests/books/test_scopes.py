"""What a token must allow."""

from collections.abc import Callable

import httpx
import pytest


@pytest.mark.parametrize(("method", "scope"), [("GET", "write:books"), ("POST", "read:books")])
async def test_reading_and_writing_need_a_scope_each(
    anonymous: httpx.AsyncClient, token: Callable[..., str], method: str, scope: str
) -> None:
    headers = {"authorization": f"Bearer {token(scopes=[scope])}"}
    response = await anonymous.request(method, "/v1/books", json={}, headers=headers)
    assert response.status_code == 403
