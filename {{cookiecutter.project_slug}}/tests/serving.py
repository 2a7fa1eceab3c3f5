"""Serves an application with uvicorn on a real socket, for what only shows on the wire."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve in a thread with an event loop of its own; yield the base URL."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, ws="websockets-sansio")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield _url_of(server, thread)
    finally:
        server.should_exit = True
        thread.join(timeout=20)


def _url_of(server: uvicorn.Server, thread: threading.Thread) -> str:
    deadline = time.monotonic() + 20
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("The application did not start.")
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    return f"http://127.0.0.1:{port}"


class Cutter:
    """A TCP proxy that can hold back or cut a connection when the client sends COMMIT."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self.cuts = False
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
        raise EOFError
