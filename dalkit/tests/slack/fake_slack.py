"""Slack's end of a webhook: a real HTTP server on the loopback that does as it is told."""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What to answer to one message, after `delay` seconds."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    #: Megabytes that follow.
    size: int = 0


class FakeSlack:
    """Keeps the messages it got; `answers` are used up one by one, then `answer` is used."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.answers: list[Answer] = []
        self.messages: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.taken = 0  # megabytes of answers
        self.url = ""
        self.closing = threading.Event()

    def receive(self, body: bytes) -> Answer:
        """Keep a message and return what to answer."""
        self.times.append(monotonic())
        self.messages.append(json.loads(body))
        return self.answers.pop(0) if self.answers else self.answer

    @property
    def texts(self) -> list[str]:
        """Every message as one JSON text, the way a leak would be searched for."""
        return [json.dumps(message, ensure_ascii=False) for message in self.messages]

    async def received(self, count: int, *, within: float = 5.0) -> list[dict[str, Any]]:
        """Return the messages once there are `count` of them; raises TimeoutError."""
        async with asyncio.timeout(within):
            while len(self.messages) < count:
                await asyncio.sleep(0.005)
        return self.messages


@contextmanager
def serving() -> Iterator[FakeSlack]:
    """Run a fake Slack on a free port."""
    slack = FakeSlack()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer = slack.receive(self.rfile.read(int(self.headers["content-length"])))
            slack.closing.wait(answer.delay)
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"a word of Slack's")
                for _ in range(answer.size):
                    self.wfile.write(b"a" * 1_000_000)
                    slack.taken += 1
            except OSError:  # the client has given up
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        slack.url = f"http://127.0.0.1:{server.server_port}/services/T0/B0/webhooksecret"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield slack
        finally:
            slack.closing.set()
            server.shutdown()
