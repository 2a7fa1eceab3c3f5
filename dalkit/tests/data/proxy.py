"""A TCP proxy that can fall silent, as a network does: nothing is forwarded, nothing is closed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import make_url


@dataclass(eq=False)
class Link:
    """A connection, with its writers to both sides: the client's, the server's."""

    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    is_lost: bool = False  # nothing is forwarded any more

    @property
    def port(self) -> int:
        """From where the server sees it come."""
        port: int = self.writers[1].get_extra_info("sockname")[1]
        return port

    def cut(self) -> None:
        """Reset both sides."""
        self.is_lost = True
        for writer in self.writers:
            writer.transport.abort()


class Proxy:
    """Forwards to one address; `is_silent` stops that, also for connections that come later.

    What was connected while it was silent stays silent for ever.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.links: set[Link] = set()
        self.is_silent = False
        #: Awaited before a piece is forwarded, when there is one.
        self.watch: Callable[[Link], Awaitable[object]] | None = None

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward in both directions until one side closes."""
        there = await asyncio.open_connection(*self._target)
        link = Link((writer, there[1]))
        self.links.add(link)
        try:
            await asyncio.gather(
                self._forward(reader, there[1], link), self._forward(there[0], writer, link)
            )
        finally:
            self.links.discard(link)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: Link
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if self.watch is not None:
                    await self.watch(link)
                link.is_lost |= self.is_silent
                if not link.is_lost:
                    writer.write(data)
                    await writer.drain()
        link.is_lost = True
        for one in link.writers:
            one.close()

    async def stop(self) -> None:
        """Close all connections."""
        while self.links:
            for link in self.links:
                link.cut()
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
