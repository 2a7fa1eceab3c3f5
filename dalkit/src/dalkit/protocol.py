"""The HTTP/1.1 protocol of `serve`: uvicorn's on httptools, with limits on what it accepts."""

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

#: Bytes of a request line with its headers, or of a trailer. nginx allows 32 KiB in all.
LONGEST_HEAD = 64 * 1024
#: Seconds in which a head has to arrive, from the connection or its first byte on.
HEAD_TIMEOUT = 10.0
#: Seconds in which at least LEAST_BODY bytes of a body have to arrive while they are waited for.
BODY_TIMEOUT = 30.0
LEAST_BODY = 3_000
#: Seconds in which a client has to take something of an answer that waits for it.
TAKE_TIMEOUT = 60.0
#: Seconds for a client to read a refusal, while what it sends is dropped.
LINGER = 2.0

_REASONS = {
    400: b"Send exactly one Host header.",
    408: b"The request did not arrive in time.",
    431: b"The request line and its headers are too long.",
}


class LimitedProtocol(HttpToolsProtocol):
    """Refuses what httptools lets pass, and closes connections on which nothing arrives.

    A head of more than LONGEST_HEAD bytes is 431 (RFC 6585, section 5), an HTTP/1.1 request without
    a Host or with several is 400 (RFC 9112, section 3.2), a trailer never becomes a header (RFC
    9110, section 6.5.1), and a head or a body that does not arrive is 408 (RFC 9110, section
    15.5.9). Each refusal ends the connection.
    """

    _in_head = False
    _in_body = False
    _is_over = False  # refused, or handed on to a WebSocket
    _head_size = 0
    _unseen = 0  # bytes of a body's framing and trailer since its last byte
    _arrived = 0
    _timer: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None
    _running: RequestResponseCycle | None = None  # uvicorn's `cycle` may wait for this one

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a head."""
        super().connection_made(transport)
        self._wait(HEAD_TIMEOUT, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._stop_waiting()
        self._stop_taking()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, LONGEST_HEAD bytes at a time, and wait for what is missing."""
        self._unset_keepalive_if_required()
        for start in range(0, len(data), LONGEST_HEAD):
            if self._is_over:
                return
            self._feed(data[start : start + LONGEST_HEAD])
        if self._is_over or self._timer is not None:
            return
        if self._in_body:
            self._arrived = 0
            self._wait(BODY_TIMEOUT, self._body_is_late)
        elif self._in_head or self._running is None or self._running.response_complete:
            self._wait(HEAD_TIMEOUT, self._head_is_late)

    def _feed(self, piece: bytes) -> None:
        self._head_size += len(piece)
        self._unseen += len(piece)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self._stop_waiting()
                self._is_over = True
                self.handle_websocket_upgrade()
            else:
                self._unsupported_upgrade_warning()
        except httptools.HttpParserError:
            if not self._is_over:
                self._refuse(400, b"Invalid HTTP request received.")
        else:
            size = self._head_size if self._in_head else self._unseen if self._in_body else 0
            if size > 2 * LONGEST_HEAD:
                self._refuse(431)

    def on_message_begin(self) -> None:
        """Begin a head; the piece that it begins in counts as a part of it."""
        super().on_message_begin()
        self._in_head, self._head_size = True, LONGEST_HEAD

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, and drop a trailer."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request, unless its head is refused."""
        self._stop_waiting()
        self._in_head = False
        if self._head_size > LONGEST_HEAD and self._size_of_head() > LONGEST_HEAD:
            self._refuse(431)
            raise _Refused
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            self._refuse(400)
            raise _Refused
        super().on_headers_complete()
        self._in_body, self._unseen = True, 0

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        """Wait for a client that takes nothing of its answer, but not for ever."""
        super().pause_writing()
        self._taking = self.loop.call_later(TAKE_TIMEOUT, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client has taken something."""
        self._stop_taking()
        super().resume_writing()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._unseen = 0
        self._arrived += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body."""
        self._stop_waiting()
        self._in_body = False
        super().on_message_complete()

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _head_is_late(self) -> None:
        if self._in_head:
            self._refuse(408)
        else:
            self.transport.close()  # nobody has asked anything

    def _body_is_late(self) -> None:
        cycle = self.cycle
        # While the app does not ask for more, it is not the client who is late.
        is_waited_for = not (self.flow.read_paused or cycle.waiting_for_100_continue)
        if not is_waited_for or self._arrived >= LEAST_BODY:
            self._arrived = 0
            self._wait(BODY_TIMEOUT, self._body_is_late)
        else:
            self._refuse(408)

    def _refuse(self, status: int, reason: bytes = b"") -> None:
        """Answer and close the connection; an earlier answer that is under way ends first."""
        self._stop_waiting()
        self._is_over = True
        reason = reason or _REASONS[status]
        self.logger.info("Refused a request with %d: %s", status, reason.decode())
        cycle = self._running
        if cycle is None or cycle.response_complete or cycle.disconnected:
            self._answer(status, reason)
        elif not (self._in_body and cycle is self.cycle):
            cycle.keep_alive = False
            self.pipeline.clear()
        else:  # its own body is what is wrong
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
            else:
                self._answer(status, reason)

    def _answer(self, status: int, reason: bytes) -> None:
        content = [
            STATUS_LINE[status],
            b"content-type: text/plain; charset=utf-8\r\n",
            b"content-length: " + str(len(reason)).encode() + b"\r\n",
            b"connection: close\r\n\r\n",
            reason,
        ]
        self.transport.write(b"".join(content))
        if self.transport.can_write_eof():
            # Closed with bytes unread, the connection would be reset, and the answer lost with it.
            self.transport.write_eof()
            self._wait(LINGER, self.transport.close)
        else:
            self.transport.close()

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        self._timer = self.loop.call_later(seconds, then)

    def _stop_taking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Refused(Exception):
    """Ends the parsing of a request that was answered already."""
