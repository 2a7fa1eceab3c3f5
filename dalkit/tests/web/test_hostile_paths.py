"""What anybody may write into a path, on a real socket and without a token."""

import asyncio
import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from dalkit import Settings

from tests.service.app import create_app
from tests.serving import serving

VALUES = {
    "5,000 digits": b"9" * 5_000,
    "a huge negative": b"-" + b"9" * 5_000,
    "10,000 letters": b"a" * 10_000,
    "NUL": b"%00",
    "a surrogate": b"%ED%A0%80",
    "no UTF-8": b"%ff%fe",
    "a slash": b"%2F..%2F",
    "a line break": b"%0d%0aset-cookie:x",
    "nothing": b"",
    "a bigint and one": b"9223372036854775808",
}


@pytest.fixture
async def url(settings: Settings) -> AsyncIterator[str]:
    """The service."""
    async with serving(create_app(settings)) as it:
        yield it


def paths(settings: Settings) -> set[str]:
    """The templates of all routes, and one that no route has."""
    contexts = iter_route_contexts(create_app(settings).router.routes)
    return {str(context.path_format) for context in contexts if context.path_format} | {"/{x}"}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
async def test_nothing_in_a_path_is_a_defect(url: str, settings: Settings, value: bytes) -> None:
    address = urlsplit(url)
    asked = 0
    for template in sorted(paths(settings)):
        path = re.sub(rb"\{[^}]*\}", lambda _: value, template.encode())
        for suffix in (b"", b"/", b"/" + value, b"?x=" + value):
            for method in (b"GET", b"HEAD", b"POST", b"PATCH", b"DELETE", b"OPTIONS"):
                reader, writer = await asyncio.open_connection(address.hostname, address.port)
                writer.write(method + b" " + path + suffix + b" HTTP/1.1\r\nHost: x\r\n")
                writer.write(b"Content-Length: 0\r\nConnection: close\r\n\r\n")
                async with asyncio.timeout(10):
                    status = int((await reader.readuntil(b"\r\n")).split()[1])
                writer.close()
                asked += 1
                assert not 300 <= status < 400, (method, path[:80])  # nothing leads elsewhere
                assert status < 500 or (status == 503 and b"/readyz" in path), (method, path[:80])
    assert asked > 200


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("bad", ["%ff", "a%ED%A0%80", "%c0%af", "%e2%82"])
async def test_a_url_that_is_not_utf8_is_422(
    settings: Settings, client: httpx.AsyncClient, bad: str, compiled: bool
) -> None:
    """Read as U+FFFD, it would be a value that nobody has sent."""
    app = create_app(settings.model_copy(update={"compiled_routes": compiled}))
    headers = {"authorization": client.headers["authorization"]}
    async with serving(app) as url, httpx.AsyncClient(base_url=url, headers=headers) as outside:
        good = await outside.get("/v1/books?title__icontains=%EF%BF%BD%20%")
        assert good.status_code == 200, good.text
        for path, where in (
            (f"/v1/books?title__icontains={bad}", "query"),
            (f"/v1/books?{bad}=1", "query"),
            (f"/v1/{bad}", "path"),
        ):
            answer = await outside.get(path)
            assert answer.status_code == 422
            assert [error["loc"] for error in answer.json()["errors"]] == [[where]]
