"""Serves an application with uvicorn on a real socket, for what only shows on the wire."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from dalkit.protocol import LimitedProtocol
from dalkit.server import Server


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """Serve in a thread with an event loop of its own; yield the base URL."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        log_config=None,
        http=LimitedProtocol,
        ws="websockets-sansio",
    )
    server = Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        async with asyncio.timeout(20):
            while not server.started:
                assert thread.is_alive(), "The application did not start."
                await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await asyncio.to_thread(thread.join, 20)


class Cutter:
    """A TCP proxy that can hold back or cut a connection when the client sends COMMIT.

    `cuts` loses the COMMIT, `cuts_answer` what the server says to it.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self.cuts = self.cuts_answer = False
        self.delay = 0.0
        self.seen = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Yield the port."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._target)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._forward(server_reader, writer, watched=False))
                tasks.create_task(self._forward(reader, server_writer, watched=True))
        except* (OSError, EOFError):
            pass
        finally:
            writer.close()
            server_writer.close()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, watched: bool
    ) -> None:
        while data := await reader.read(65536):
            if watched and b"COMMIT" in data:
                self.seen += 1
                await asyncio.sleep(self.delay)
                if self.cuts:
                    raise EOFError
            writer.write(data)
            await writer.drain()
            if watched and self.cuts_answer and b"COMMIT" in data:
                raise EOFError
        raise EOFError
