"""The one way to serve: `<service> serve`, the image, compose and `make run` come here."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from .protocol import LimitedProtocol

#: Seconds in which a worker has to tell that it lives. It does not while it is importing;
#: uvicorn's own 5 may be too short for that.
ANSWER_TIMEOUT = 30


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
    SystemExit with status 1 when one of several workers cannot start.
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
    if workers == 1:
        folders = list(reload_dirs) or None
        uvicorn.run(app, workers=1, reload=bool(folders), reload_dirs=folders, **options)
        return
    # A worker that a bad setting ends would be restarted without end, so it ends the parent first.
    import_module(app.partition(":")[0])
    options["timeout_worker_healthcheck"] = ANSWER_TIMEOUT
    config = uvicorn.Config(app, workers=workers, **options)
    supervisor = _Parent(config, [config.bind_socket()])
    supervisor.run()
    if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
        sys.exit(1)
