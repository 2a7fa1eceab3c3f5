"""Decides the request's transaction before the first byte of the response leaves."""

import asyncio
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from starlette._exception_handler import wrap_app_handling_exceptions
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..data.dal import DataAccessLayer
from .idempotency import (
    REPLAYED,
    SAFE_METHODS,
    Answer,
    Idempotency,
    answer_in_messages,
    is_keyed,
    subject_of,
)
from .idempotency import SCOPE_KEY as IDEMPOTENCY
from .positions import check_cookie, position_headers, position_of
from .request import CLIENT_TIMEOUT, SCOPE_KEY, RequestTransaction, Unwind

logger = logging.getLogger(__name__)

#: Seconds to wait at most before a request runs again; doubled each time up to the longest.
FIRST_PAUSE = 0.01
LONGEST_PAUSE = 0.3
#: Bytes of a body that are kept in order to send them again.
LONGEST_BODY = 1024 * 1024
OVER = (
    "The request's transaction is over: it was decided when the response started. "
    "Use `async with dal.transaction()` in background tasks."
)


class TransactionMiddleware:
    """Pure ASGI, and innermost: nothing behind it can turn a committed 2xx into an error.

    A status below 400 commits, anything else rolls back, and nothing is sent before COMMIT has
    answered. A request that only reads or that asked for it runs again, `attempts` times in all,
    when it collided: see `is_collision` in dalkit.data. A client that takes nothing of a stream of
    rows for `client_timeout` seconds is given up. `context` tells the custom parameters that are
    set with BEGIN, such as {"app.user": "ada"}: it is asked before the first statement.

    With a replica, a write is answered with X-Database-Position, and a request that brings it back
    reads what was written. `position_cookie` is the name of a cookie that does the same in a
    browser. An Idempotency-Key is one of the `principal`, the subject of the token where nothing
    else is said; a repetition waits `idempotency_wait` seconds for the first request, then it is
    answered with 409.
    """

    def __init__(
        self,
        app: ASGIApp,
        dal: DataAccessLayer,
        *,
        attempts: int = 10,
        client_timeout: float = CLIENT_TIMEOUT,
        context: Callable[[Request], Mapping[str, str | None]] | None = None,
        position_cookie: str | None = None,
        principal: Callable[[Request], str] = subject_of,
        idempotency_wait: float = 0.0,
    ) -> None:
        """Raises ValueError for what is no cookie's name."""
        if position_cookie is not None:
            check_cookie(position_cookie)
        self.position_cookie = position_cookie
        self.idempotency = Idempotency(principal, idempotency_wait)
        self.app = app
        self.dal = dal
        self.context = context
        self.attempts = attempts
        self.client_timeout = client_timeout
        self._turns: dict[object, asyncio.Lock] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application with a transaction; WebSocket and lifespan scopes pass through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = ReplayableBody(receive, digested=(keyed := is_keyed(scope)))
        if keyed:
            answer_in_messages(scope)
        scope[IDEMPOTENCY] = self.idempotency, body
        untouched = dict(scope)
        turn: asyncio.Lock | None = None
        try:
            for number in range(1, self.attempts + 1):
                last = number == self.attempts
                attempt = _Attempt(self, scope, body, send, turn, last=last)
                attempt.transaction.fresh = number > 1  # the replica may be what it collided with
                if await attempt.finishes(self.app):
                    return
                # Those of one route run again one after the other: each has a better chance so.
                turn = self._turns.setdefault(scope.get("endpoint"), asyncio.Lock())
                scope.clear()
                scope.update(untouched)
                body.rewind()
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**number)
                await asyncio.sleep(random.random() * pause)  # noqa: S311
                await turn.acquire()
        finally:
            # The body's `receive` knows the scope: without this circle all of the request is freed
            # now, and not by the garbage collector.
            scope.pop(IDEMPOTENCY, None)


class ReplayableBody:
    """Hands out the messages of `receive` and remembers those of the body."""

    def __init__(self, receive: Receive, *, digested: bool = False) -> None:
        self._receive = receive
        self._hash = hashlib.sha256() if digested else None
        self.is_whole = False  # its last part has come
        self._seen: list[Message] = []
        self._size = 0
        self._position = 0
        self.is_complete = True  # False once the body was too large to keep

    async def receive(self) -> Message:
        """The next message: a remembered one after `rewind`, else the next from the server."""
        if self._position < len(self._seen):
            message = self._seen[self._position]
        else:
            message = await self._receive()
            self._remember(message)
        self._position += 1
        return message

    def rewind(self) -> None:
        """Start over with the first message."""
        self._position = 0

    def digest(self) -> bytes:
        """SHA-256 of what has come; raises RuntimeError unless that was asked for."""
        if self._hash is None:
            raise RuntimeError("This request has no Idempotency-Key: its body was not digested.")
        return self._hash.digest()

    def _remember(self, message: Message) -> None:
        if self._hash is not None:
            self._hash.update(message.get("body", b""))
        self.is_whole = not message.get("more_body", False)
        if message["type"] != "http.request" or not self.is_complete:
            return
        self._size += len(message.get("body", b""))
        if self._size <= LONGEST_BODY:
            self._seen.append(message)
        else:
            self.is_complete = False
            self._seen.clear()


class _Attempt:
    """One run of the application in one transaction."""

    def __init__(
        self,
        middleware: TransactionMiddleware,
        scope: Scope,
        body: ReplayableBody,
        send: Send,
        turn: asyncio.Lock | None,
        *,
        last: bool,
    ) -> None:
        context = middleware.context and partial(middleware.context, Request(scope))
        self.transaction = scope[SCOPE_KEY] = RequestTransaction(middleware.dal, context)
        self._cookie = middleware.position_cookie
        if middleware.dal.replica:
            self.transaction.after = position_of(scope, self._cookie)
        self._client_timeout = middleware.client_timeout
        self._scope = scope
        self._body = body
        self._send = send
        self._turn = turn  # held until the transaction is decided
        self._last = last
        self._started = False
        self._failure: Exception | None = None
        self._held: Answer | None = None

    async def finishes(self, app: ASGIApp) -> bool:
        """Run the application; False when the request has to run again."""
        is_repeated = False  # and then the transaction goes on until the kept answer is sent
        try:
            await app(self._scope, self._body.receive, self._decide_then_send)
        except BaseException as error:
            is_unwinding = _is_unwinding(error)
            if not is_unwinding and not (isinstance(error, Exception) and self._must_rerun):
                raise
            is_repeated = is_unwinding and self.transaction.answer is not None
        finally:
            try:
                if not self.transaction.is_over and not is_repeated:
                    await self.transaction.finish(commit=False, over=OVER)
            finally:
                self._end_turn()
        if is_repeated and self.transaction.answer is not None:
            await self._repeat(self.transaction.answer)
        elif self._must_rerun:
            return False
        if self._failure is not None:
            await self._answer_with(self._failure)
        return True

    @property
    def _must_rerun(self) -> bool:
        transaction = self.transaction
        if not transaction.collided:
            return False
        allowed = transaction.replayed or self._scope["method"] in SAFE_METHODS
        possible = self._body.is_complete and not (self._started or self._last)
        return allowed and possible

    def _decide_then_send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            return self._decide_then_begin(message)
        if self._held is not None:
            return self._keep_then_send(self._held, message)
        if self.transaction.streaming:
            return self._stream(message)
        return self._send(message)

    async def _decide_then_begin(self, message: Message) -> None:
        if self.transaction.keyed is not None and message["status"] < 400:
            self._held = Answer.begun(message)
            return
        if self.transaction.unasked and message["status"] < 300:
            raise RuntimeError(
                "The handler ran without a look at the request's Idempotency-Key: this FastAPI "
                "does not call `dependant.call`. Depend on Transaction until dalkit knows it."
            )
        await self._decide(message["status"])
        message = {**message, "headers": [*message.get("headers", ()), *self._position]}
        self._started = True
        self._end_turn()
        if self.transaction.streaming:
            await self._send_within_limit(message)
        else:
            await self._send(message)

    async def _stream(self, message: Message) -> None:
        if not message.get("more_body", False):
            await self.transaction.finish(commit=True, over=OVER)
        await self._send_within_limit(message)

    @property
    def _position(self) -> list[tuple[bytes, bytes]]:
        position = self.transaction.position
        return position_headers(position, self._cookie) if position else []

    async def _keep_then_send(self, answer: Answer, message: Message) -> None:
        """Send nothing of an answer that is to be kept before all of it was committed."""
        if not answer.add(message):
            return
        await self._decide(answer.status)
        self._started, self._held = True, None
        self._end_turn()
        for each in answer.messages(*self._position):
            await self._send(each)

    async def _repeat(self, answer: Answer) -> None:
        """Send what was kept; what dependencies have written meanwhile is undone."""
        await self.transaction.finish(commit=False, over=OVER)
        for each in answer.messages((REPLAYED.lower().encode(), b"true"), *self._position):
            await self._send(each)

    async def _send_within_limit(self, message: Message) -> None:
        """Send, unless the client takes nothing for so long that its connection is worth more."""
        limit = asyncio.timeout(self._client_timeout)
        try:
            async with limit:
                await self._send(message)
        except TimeoutError:
            if not limit.expired():
                raise
            logger.info("A stream was given up: its client took nothing in time.")
            raise Unwind from None

    async def _decide(self, status: int) -> None:
        if self.transaction.streaming and status < 400:
            return
        if not self._must_rerun:
            try:
                if self._held is not None and self.transaction.keyed is not None:
                    await self.transaction.keyed.keep(self.transaction, self._held)
                await self.transaction.finish(commit=status < 400, over=OVER)
            except Exception as error:  # noqa: BLE001 - answered by the handlers
                self._failure = error
        if self._must_rerun or self._failure is not None:
            raise Unwind

    def _end_turn(self) -> None:
        if self._turn is not None:
            self._turn.release()
            self._turn = None

    async def _answer_with(self, failure: Exception) -> None:
        """Let the application's exception handlers answer what COMMIT raised."""

        async def fail(scope: Scope, receive: Receive, send: Send) -> None:
            raise failure

        app = wrap_app_handling_exceptions(fail, Request(self._scope, self._body.receive))
        await app(self._scope, self._body.receive, self._send)


def _is_unwinding(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_unwinding, error.exceptions))
    return isinstance(error, Unwind)
