"""The one way to serve: `<service> serve`, the image, compose and `make run` come here."""

import asyncio
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from .protocol import LimitedProtocol

#: Seconds in which a worker has to tell that it lives. It does not while it is importing;
#: uvicorn's own 5 may be too short for that.
ANSWER_TIMEOUT = 30
#: New connections that a server without other workers accepts in one turn of its loop.
ACCEPTED_AT_ONCE = 8


class Server(uvicorn.Server):
    """Accepts several new connections in one turn of the loop, for each address it listens on.

    uvloop accepts one of each listening socket, so that several workers get a share each. A turn
    takes milliseconds under load, and the last of a burst would wait for as many turns as there
    are connections before it. Here the loop has the same socket ACCEPTED_AT_ONCE times.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on `sockets`, or where the configuration says."""
        await super().startup(sockets)
        loop, config = asyncio.get_running_loop(), self.config
        made: Any = config.http_protocol_class
        protocol = partial(
            made,
            config=config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        for listening in [one for server in self.servers for one in server.sockets]:
            for _ in range(ACCEPTED_AT_ONCE - 1):
                same = socket.fromfd(listening.fileno(), listening.family, listening.type)
                server = await loop.create_server(
                    protocol, sock=same, ssl=config.ssl, backlog=config.backlog
                )
                self.servers.append(server)


class _Parent(Multiprocess):
    """Notices at once that a worker is gone which it has asked whether it lives.

    While the parent itself holds the worker's end of their pipe, it never hears that this end is
    closed: it would wait for an answer, deaf to signals, and the clients that connect would wait.
    """

    def keep_subprocess_alive(self) -> None:
        """Replace the workers that are gone."""
        for process in self.processes:
            process.child_conn.close()
        super().keep_subprocess_alive()


def serve(
    app: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    reload_dirs: Sequence[str] = (),
    timeout_graceful_shutdown: int = 30,
) -> None:
    """Serve `app` ("package.main:app") with uvicorn until it is told to stop.

    With `reload_dirs` it restarts when a file there changes. `timeout_graceful_shutdown` is in
    seconds. The logs are the application's to configure, the access log is its middleware's. Raises
    SystemExit, with status 3 or 1, when it cannot start.
    """
    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "http": LimitedProtocol,
        "ws": "websockets-sansio",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": timeout_graceful_shutdown,
    }
    if reload_dirs and workers == 1:
        uvicorn.run(app, workers=1, reload=True, reload_dirs=list(reload_dirs), **options)
        return
    if workers == 1:
        server = Server(uvicorn.Config(app, workers=1, **options))
        with suppress(KeyboardInterrupt):
            server.run()
        if not server.started:
            sys.exit(STARTUP_FAILURE)
        return
    # A worker that a bad setting ends would be restarted without end, so it ends the parent first.
    import_module(app.partition(":")[0])
    options["timeout_worker_healthcheck"] = ANSWER_TIMEOUT
    config = uvicorn.Config(app, workers=workers, **options)
    supervisor = _Parent(config, [config.bind_socket()])
    supervisor.run()
    if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
        sys.exit(1)
