"""The HTTP/1.1 protocol of `serve`: uvicorn's on httptools, with limits on what it accepts."""

import asyncio
import re
from collections.abc import Callable
from typing import Any, cast

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
    400: b"Send exactly one Host header, with a host; open a WebSocket with GET and no body.",
    408: b"The request did not arrive in time.",
    431: b"The request line and its headers are too long.",
    505: b"Send HTTP/1.1.",
}
#: RFC 3986, sections 3.2.2 and 3.2.3.
_HOST = re.compile(rb"[\w.~%!$&'()*+,;=-]*(:[0-9]*)?|\[[\w.~%:-]+\](:[0-9]*)?", re.ASCII)
_FRAMING = {b"content-length", b"transfer-encoding"}


class LimitedProtocol(HttpToolsProtocol):
    """Refuses what httptools lets pass, and closes connections on which nothing arrives.

    A head of more than LONGEST_HEAD bytes is 431 (RFC 6585, section 5), an HTTP/1.1 request without
    a Host, with several or with one that is no host is 400 (RFC 9112, section 3.2), a trailer never
    becomes a header (RFC 9110, section 6.5.1), and a head or a body that does not arrive is 408
    (RFC 9110, section 15.5.9). A WebSocket's handshake that cannot be answered is 400 (RFC 6455,
    section 4.2.1), other versions than 1.0 and 1.1 are 505 (RFC 9110, section 15.6.6). Each refusal
    ends the connection.
    """

    _in_head = False
    _in_body = False
    _is_offer = False  # of another protocol than WebSocket: the same head comes again without it
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
        while data and not self._is_over:
            piece, data = data[:LONGEST_HEAD], data[LONGEST_HEAD:]
            self._feed(piece)
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
            while piece:
                piece = self._parse(piece)
        except httptools.HttpParserError:
            if not self._is_over:
                self._refuse(400, b"Invalid HTTP request received.")
        else:
            size = self._head_size if self._in_head else self._unseen if self._in_body else 0
            if size > 2 * LONGEST_HEAD:
                self._refuse(431)

    def _parse(self, piece: bytes) -> bytes:
        """Return what has to be parsed next."""
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._is_offer:
                self._open_websocket()
            else:
                return self._without_offer() + piece[upgrade.args[0] :]
        return b""

    def _without_offer(self) -> bytes:
        """The head that was parsed, without its Upgrade headers, for a new parser.

        httptools takes what follows an offer of any protocol for that protocol, and the body of the
        request is lost, or is parsed as the next request.
        """
        self._is_offer = False
        line = b"%b %b HTTP/%b\r\n" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode(),
        )
        kept = [b"%b: %b\r\n" % it for it in self.headers if it[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return b"".join([line, *kept, b"\r\n"])

    def _open_websocket(self) -> None:
        self._stop_waiting()
        self._is_over = True
        self.handle_websocket_upgrade()
        # Of a head that it cannot read, the library says nothing, and waits.
        if not getattr(self.transport.get_protocol(), "handshake_initiated", True):
            self._answer(400, _REASONS[400])

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
        if status := self._status_of_head():
            self._refuse(status)
            raise _Refused
        # To CONNECT, which upgrades without the header, uvicorn says 400.
        is_upgrade = self.parser.should_upgrade() and any(n == b"upgrade" for n, _ in self.headers)
        self._is_offer = is_upgrade and not self._should_upgrade()
        if not self._is_offer:
            if self.expect_100_continue:
                # An HTTP/1.0 client would take 100 for the answer (RFC 9110, section 10.1.1).
                self.expect_100_continue = self.parser.get_http_version() != "1.0"
            super().on_headers_complete()
            self._in_body, self._unseen = True, 0

    def _status_of_head(self) -> int:
        """The status with which a head is refused, 0 when it is not."""
        if self._head_size > LONGEST_HEAD and self._size_of_head() > LONGEST_HEAD:
            return 431
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            return 505
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) != 1 and (hosts or version == "1.1"):
            return 400
        if hosts and not _HOST.fullmatch(hosts[0]):
            return 400
        is_websocket = self.parser.should_upgrade() and self._should_upgrade()
        return 400 if is_websocket and not self._is_handshake() else 0

    def _is_handshake(self) -> bool:
        """Whether it has no body and is not behind a request that is not answered yet."""
        is_alone = self._running is None or self._running.response_complete
        return is_alone and _FRAMING.isdisjoint(name for name, _ in self.headers)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        if cycle.waiting_for_100_continue or not cycle.keep_alive:
            cycle.transport = cast(asyncio.Transport, _Lingering(self.transport, self._end))
        if cycle.waiting_for_100_continue:
            app = _closing_unread(app, cycle)
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
        if not self._is_offer:
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
        self._linger()

    def _end(self) -> None:
        """Close the connection behind an answer that is the last one."""
        if self._in_body:  # the answer did not wait for all of it
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Close the connection, and drop what arrives until the client has read the answer.

        Closed with bytes unread, the connection would be reset, and the answer lost with it (RFC
        9112, section 9.6).
        """
        self._stop_waiting()
        self._is_over = True
        if self.transport.can_write_eof():
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


class _Lingering:
    """A transport that is closed by `close`."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._transport = transport
        self.close = close

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def _closing_unread(app: Any, cycle: RequestResponseCycle) -> Any:
    """End the connection with an answer that comes instead of 100 Continue.

    Nobody knows whether the body or the next request follows (RFC 9110, section 10.1.1).
    """

    async def run(scope: Any, receive: Any, send: Any) -> None:
        async def send_and_close(message: Any) -> None:
            if cycle.waiting_for_100_continue and cycle.more_body:
                cycle.keep_alive = False
            await send(message)

        await app(scope, receive, send_and_close)

    return run
