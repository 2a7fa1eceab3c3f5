"""Serves one system, with the flags of all others: python -m benchmarks.serve APP FD [CORE]

It listens on the inherited socket FD, and ends when its standard input is closed: so whatever
happens to the harness, no server is left behind.
"""

import os
import signal
import socket
import sys
import threading

import uvicorn
from dalkit.server import Server, serve

from .machine import pin


def main() -> None:
    """Serve until the harness lets go."""
    app, descriptor, *core = sys.argv[1:]
    pin(int(core[0]) if core else None)
    threading.Thread(target=_end_with_harness, daemon=True).start()
    listening = socket.socket(fileno=int(descriptor))
    if workers := os.environ.get("BENCH_WORKERS"):  # as `serve --workers` does it
        port = listening.getsockname()[1]
        listening.close()
        serve(app, port=port, workers=int(workers), timeout_graceful_shutdown=2)
        return
    # Ours is served as `serve` does it, with its limits on what a client may send.
    protocol = os.environ.get("BENCH_PROTOCOL")
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol or "httptools",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=2,
    )
    server = Server(config) if protocol else uvicorn.Server(config)
    server.run(sockets=[listening])


def _end_with_harness() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
