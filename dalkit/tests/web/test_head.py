"""HEAD is answered wherever GET is."""

import asyncio
from urllib.parse import urlsplit

import httpx
import pytest

from dalkit import Settings

from tests.service.app import create_app
from tests.serving import serving


@pytest.mark.parametrize("path", ["/livez", "/v1/books", "/openapi.json", "/v1/books/12345"])
async def test_the_headers_are_those_of_get(client: httpx.AsyncClient, path: str) -> None:
    got, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    for name in ("content-type", "content-length"):
        assert head.headers[name] == got.headers[name]


async def test_it_needs_a_token_where_get_does(anonymous: httpx.AsyncClient) -> None:
    assert (await anonymous.head("/v1/books")).status_code == 401


async def test_a_path_without_get_has_no_head(client: httpx.AsyncClient) -> None:
    assert (await client.head("/slack")).status_code == 405


async def test_the_connection_goes_on_after_it(settings: Settings) -> None:
    """No byte of a body is on the wire, where it would be taken for the next answer."""
    async with serving(create_app(settings)) as url:
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for method in (b"HEAD", b"GET"):
            writer.write(method + b" /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
        assert b"ok" in await reader.read(100)
        writer.close()
