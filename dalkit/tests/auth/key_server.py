"""A key server that misbehaves on command: real HTTP on the loopback."""

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

SLOW = 2  # seconds

Behaviour = Callable[["KeyServer", "Handler"], None]


class KeyServer(ThreadingTCPServer):
    """Serves `key_set` as `behave` says, and counts the requests."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.key_set: Any = {"keys": []}
        self.behave: Behaviour = good
        self.requests = 0
        self.held, self.opened = threading.Event(), threading.Event()  # of `held`

    def handle_error(self, *_: Any) -> None:
        """Say nothing: clients hang up on it on purpose."""


class Handler(BaseHTTPRequestHandler):
    """Counts, and does what its server was told."""

    server: KeyServer

    def do_GET(self) -> None:
        """Answer as told."""
        self.server.requests += 1
        self.server.behave(self.server, self)

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        """Send it."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def good(server: KeyServer, handler: Handler) -> None:
    """Answer as Auth0 does."""
    handler.answer(200, json.dumps(server.key_set).encode())


def error(server: KeyServer, handler: Handler) -> None:
    """Answer 500, with the keys."""
    handler.answer(500, json.dumps(server.key_set).encode())


def html(server: KeyServer, handler: Handler) -> None:
    """Answer with a captive portal's page."""
    handler.answer(200, b"<html>Please log in</html>")


def empty(server: KeyServer, handler: Handler) -> None:
    """Answer with no keys."""
    handler.answer(200, b'{"keys": []}')


def deep(server: KeyServer, handler: Handler) -> None:
    """Answer with JSON that is nested too deeply."""
    handler.answer(200, b"[" * 60_000)


def huge(server: KeyServer, handler: Handler) -> None:
    """Answer with the keys after 10 MB."""
    handler.answer(200, b" " * 10_000_000 + json.dumps(server.key_set).encode())


def compressed(server: KeyServer, handler: Handler) -> None:
    """Answer with the keys, compressed although that was not accepted."""
    body = gzip.compress(json.dumps(server.key_set).encode())
    handler.answer(200, body, Content_Encoding="gzip")


def redirect(server: KeyServer, handler: Handler) -> None:
    """Answer with a redirect to itself as it should be."""
    if handler.path == "/good":
        good(server, handler)
    else:
        handler.answer(302, b"", Location=f"{server.url}good")


def lost(server: KeyServer, handler: Handler) -> None:
    """Answer with a redirect to what is no URL of HTTP."""
    handler.answer(302, b"", Location="about:blank")


def slow(server: KeyServer, handler: Handler) -> None:
    """Answer well, but late."""
    time.sleep(SLOW)
    good(server, handler)


def held(server: KeyServer, handler: Handler) -> None:
    """Answer well, once the server is opened."""
    server.held.set()
    server.opened.wait(30)
    good(server, handler)


def dripping(server: KeyServer, handler: Handler) -> None:
    """Answer a byte every 50 ms."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(40):
        handler.wfile.write(b" ")
        time.sleep(0.05)


def hang_up(server: KeyServer, handler: Handler) -> None:
    """Close the connection in the middle of the answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"keys": [')


@contextmanager
def key_server() -> Iterator[KeyServer]:
    """Yield a key server that runs."""
    with KeyServer() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
