"""A small service for the tests that need a real server, real signals and a real exporter."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import structlog
from fastapi import FastAPI, HTTPException
from fastapi.middleware import Middleware
from starlette.types import Receive, Scope, Send
from uvicorn.supervisors.multiprocess import Process

from dalkit.observe.logs import configure_logging
from dalkit.observe.otel import telemetry
from dalkit.web import AccessLogMiddleware
from dalkit.web.shutdown import Shutdown

ROOT = Path(__file__).parent.parent


def create() -> FastAPI:
    """The app; `uvicorn --factory` calls this in a process of its own."""
    configure_logging()
    shutdown = Shutdown(delay=float(os.environ["SHUTDOWN_DELAY"]))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with shutdown:
            yield
            structlog.get_logger().info("the lifespan is over")

    logged = [Middleware(AccessLogMiddleware)]
    app = FastAPI(lifespan=lifespan, telemetry=telemetry(), middleware=logged)

    @app.get("/readyz")
    async def readyz() -> None:
        if shutdown.draining:
            raise HTTPException(503)

    @app.get("/slow/{seconds}")
    async def slow(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "done"

    app.mount("/echo", echo)
    return app


async def echo(_: Scope, receive: Receive, send: Send) -> None:
    """Answer a body piece by piece, while it comes, and say which process that is."""
    headers = [(b"x-process", b"%d" % os.getpid())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        body = message.get("body", b"")
        await send({"type": "http.response.body", "body": body, "more_body": more})


class Server:
    """A running `uvicorn` and a client for it."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    def signal_group(self, number: signal.Signals) -> None:
        """Send it to all of its processes, as a terminal and systemd do."""
        os.killpg(self.process.pid, number)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def lines(self, *, until: str = "") -> list[str]:
        """What it writes up to a line with `until` in it, or to its end; not with `output`."""
        lines = [""]
        async with asyncio.timeout(60):
            while not until or until not in lines[-1]:
                assert self.process.stdout is not None
                line = await asyncio.to_thread(self.process.stdout.readline)
                if not line:
                    break
                lines.append(line)
        assert until in lines[-1], lines
        return lines[1:]

    async def get(self, path: str) -> httpx.Response:
        """Ask over a connection of its own."""
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=10) as client:
            return await client.get(path)

    async def output(self, within: float = 20) -> str:
        """Wait until it has ended and return what it wrote."""
        out, _ = await asyncio.to_thread(self.process.communicate, timeout=within)
        return out


def stop_the_first_that_is_asked() -> None:
    """Have the parent of workers stop one of them just before it asks whether that lives."""
    worker: Any = Process
    ask = worker.ping

    def ping(process: Process, timeout: float = 5) -> bool:
        worker.ping = ask
        os.kill(process.process.pid or 0, signal.SIGSTOP)
        print(f"asking [{process.process.pid}]", flush=True)  # noqa: T201
        return bool(ask(process, timeout))

    worker.ping = ping


@contextmanager
def serving(
    *, delay: float = 0.0, workers: int = 1, first: str = "", **environment: str
) -> Iterator[Server]:
    """Run the app on a free port until the block ends: under uvicorn, `serve` for more workers.

    `first` is a function of this module, which the parent of workers calls.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = ["-m", "uvicorn", "--factory", "tests.server_process:create", "--port", str(port)]
    if workers > 1:
        call = f"serve('tests.server_app:app', port={port}, workers={workers})"
        call = f"from dalkit import server; server.ANSWER_TIMEOUT = 600; server.{call}"
        if first:
            call = f"from tests.server_process import {first}; {first}(); {call}"
        command = ["-c", call]
    environment |= {"SHUTDOWN_DELAY": str(delay), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Server(process, f"http://127.0.0.1:{port}")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


async def ready(server: Server, *, within: float = 30) -> None:
    """Wait until the server answers; raises TimeoutError."""
    async with asyncio.timeout(within):
        while True:
            assert server.process.poll() is None, "The server has ended."
            try:
                await server.get("/readyz")
            except httpx.ConnectError:
                await asyncio.sleep(0.05)
            else:
                return
