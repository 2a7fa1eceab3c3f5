"""A TCP proxy that can fall silent, as a network does: nothing is forwarded, nothing is closed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy import make_url


class Proxy:
    """Forwards to one address; `is_silent` stops that, also for connections that come later.

    What was connected while it was silent stays silent for ever.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._lost: set[asyncio.StreamWriter] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.is_silent = False

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward in both directions until one side closes."""
        there = await asyncio.open_connection(*self._target)
        pair = {writer, there[1]}
        self._writers |= pair
        await asyncio.gather(
            self._forward(reader, there[1], pair), self._forward(there[0], writer, pair)
        )
        self._writers -= pair

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: set[asyncio.StreamWriter],
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if self.is_silent:
                    self._lost |= pair
                if writer not in self._lost:
                    writer.write(data)
                    await writer.drain()
        for one in pair:
            one.close()

    async def stop(self) -> None:
        """Close all connections."""
        while self._writers:
            for one in self._writers:
                one.transport.abort()
            await asyncio.sleep(0.01)


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy to the server of this URL, and the URL that leads through it."""
    parsed = make_url(url)
    proxy = Proxy(parsed.host or "localhost", parsed.port or 5432)
    server = await asyncio.start_server(proxy.connected, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    through = parsed.set(host="127.0.0.1", port=port).update_query_dict({"sslmode": "disable"})
    try:
        yield proxy, through.render_as_string(hide_password=False)
    finally:
        server.close()
        await proxy.stop()
