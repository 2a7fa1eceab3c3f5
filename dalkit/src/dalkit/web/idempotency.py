"""Requests that may be repeated: the header Idempotency-Key, and the answers kept under it.

After draft-ietf-httpapi-idempotency-key-header, and Stripe's practice where it says nothing.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from functools import wraps
from typing import Annotated, Any, NamedTuple
from weakref import WeakSet

import sqlalchemy as sa
from anyio import from_thread
from fastapi import Depends, Header
from fastapi.dependencies import models
from fastapi.dependencies.models import Dependant
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA
from sqlalchemy.exc import DBAPIError
from starlette.requests import Request
from starlette.types import Message, Scope

from ..data.transaction import TransactionManager
from ..errors import AbortedTransaction, sqlstate_of
from .problems import Problem
from .request import RequestTransaction, Unwind, of_request

TABLE = "idempotency_key"
REPLAYED = "Idempotent-Replayed"
#: Where TransactionMiddleware says in the scope how keys are used.
SCOPE_KEY = "db.idempotency"
#: Bytes of the largest body of an answer that is kept.
LARGEST_ANSWER = 256 * 1024
#: Seconds between two looks at whether the first request with a key has ended.
PAUSE = 0.05
#: Methods that ask for nothing but an answer (RFC 9110, section 9.2.1): they may always run again.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_KEY = re.compile(r'"?([\x21\x23-\x7e]{1,255})"?')  # a structured string's quotes may be missing
_ROWS = sa.table(
    TABLE,
    sa.column("principal", sa.Text),
    sa.column("key", sa.Text),
    sa.column("method", sa.Text),
    sa.column("path", sa.Text),
    sa.column("fingerprint", BYTEA),
    sa.column("status", sa.Integer),
    sa.column("header_names", ARRAY(sa.Text)),
    sa.column("header_values", ARRAY(sa.Text)),
    sa.column("body", BYTEA),
    sa.column("created_at", sa.TIMESTAMP(timezone=True)),
)
_FIND = sa.select(_ROWS).where(
    _ROWS.c.principal == sa.bindparam("principal"), _ROWS.c.key == sa.bindparam("key")
)
#: Ways of a server to send what is not in the messages of the body, and would not be kept.
_PAST_THE_BODY = {"http.response.pathsend", "http.response.zerocopysend", "http.response.trailers"}
_LOCK = sa.select(sa.func.pg_try_advisory_xact_lock(sa.bindparam("number", type_=sa.BigInteger)))


def subject_of(request: Request) -> str:
    """Whose keys these are: the subject of the verified token, empty without one."""
    return str(getattr(request.state, "user_sub", ""))


def is_keyed(scope: Scope) -> bool:
    """Whether the request has an Idempotency-Key."""
    for name, _ in scope["headers"]:  # noqa: SIM110 - any() costs three times as much
        if name == b"idempotency-key":
            return True
    return False


def answer_in_messages(scope: Scope) -> None:
    """Let the whole answer pass as messages: a file, for example, not as its path."""
    extensions = scope.get("extensions") or {}
    scope["extensions"] = {k: v for k, v in extensions.items() if k not in _PAST_THE_BODY}


class Idempotency(NamedTuple):
    """How keys are used: whose they are, and how many seconds a repetition waits for the first."""

    principal: Callable[[Request], str] = subject_of
    wait: float = 0.0


class KeyedRequest(NamedTuple):
    """A request with a key: what its row is found by, and what it must be equal in."""

    principal: str
    key: str
    method: str
    path: str
    fingerprint: bytes

    @property
    def lock(self) -> int:
        """The number of the advisory lock that is held while the request is under way."""
        digest = hashlib.sha256(f"{self.principal}\0{self.key}".encode()).digest()
        return int.from_bytes(digest[:8], signed=True)

    async def begin(self, tx: TransactionManager, wait: float) -> "Answer | None":
        """The answer that is kept for this request, or None when it has to be done.

        Raises Problem 409 when another one with the key is under way, 422 when one with the key was
        another request.
        """
        end = time.monotonic() + wait
        while not await tx.fetch_value(_LOCK, {"number": self.lock}):
            if time.monotonic() >= end:
                detail = "A request with this Idempotency-Key is under way; try again."
                raise Problem(409, detail, headers={"retry-after": "1"})
            await asyncio.sleep(PAUSE)
        try:
            # A statement of its own: it sees what the one before has waited for.
            row = await tx.fetch_one(_FIND, {"principal": self.principal, "key": self.key})
        except DBAPIError as error:
            if sqlstate_of(error) != "42P01":
                raise
            raise RuntimeError(
                f"There is no table {TABLE!r}: call dalkit.schema.create_idempotency_table(op) in "
                "a migration, and run it."
            ) from error
        if row is None:
            return None
        if bytes(row["fingerprint"]) != self.fingerprint:
            detail = "This Idempotency-Key was used for another request; take a new one."
            raise Problem(422, detail)
        headers = zip(row["header_names"], row["header_values"], strict=True)
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return Answer(row["status"], pairs, bytes(row["body"]))

    async def keep(self, tx: TransactionManager, answer: "Answer") -> None:
        """Write the answer into the request's own transaction.

        Raises Problem 409 when somebody else has written one meanwhile.
        """
        texts = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.kept]
        values = self._asdict() | {
            "status": answer.status,
            "header_names": [name for name, _ in texts],
            "header_values": [value for _, value in texts],
            "body": answer.body,
        }
        try:
            await tx.execute(sa.insert(_ROWS).values(values))
        except DBAPIError as error:
            match sqlstate_of(error):
                case "23505":  # only where a snapshot lasts: it was older than the lock
                    detail = "A request with this Idempotency-Key has just ended; try again."
                    raise Problem(409, detail, headers={"retry-after": "1"}) from error
                case "25P02":
                    raise AbortedTransaction from error
            raise


class Answer:
    """A whole response."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @classmethod
    def begun(cls, start: Message) -> "Answer":
        """Of a http.response.start."""
        return cls(start["status"], [(bytes(n), bytes(v)) for n, v in start.get("headers", ())])

    def add(self, message: Message) -> bool:
        """Take a part of the body; whether it was the last.

        Raises RuntimeError for a body that is too large, and for what is none.
        """
        if message["type"] != "http.response.body":
            raise RuntimeError(
                f"A {message['type']} in the answer to a request with an Idempotency-Key cannot be "
                "kept: send the body in messages, or depend on Transaction there."
            )
        self.body += message.get("body", b"")
        if len(self.body) > LARGEST_ANSWER:
            raise RuntimeError(
                f"The answer to a request with an Idempotency-Key has more than {LARGEST_ANSWER} "
                "bytes, which are not kept: answer with less, or depend on Transaction there."
            )
        return not message.get("more_body", False)

    @property
    def kept(self) -> list[tuple[bytes, bytes]]:
        """The headers that are kept: a cookie is for one answer only."""
        return [(name, value) for name, value in self.headers if name.lower() != b"set-cookie"]

    def messages(self, *more: tuple[bytes, bytes]) -> list[Message]:
        """What is sent, with more headers."""
        headers = [*self.headers, *more]
        return [
            {"type": "http.response.start", "status": self.status, "headers": headers},
            {"type": "http.response.body", "body": self.body},
        ]


#: A request with a key that is looked at when its handler is about to be called.
_current: ContextVar[Request | None] = ContextVar("dalkit_keyed_request", default=None)
#: The handlers before which this is done.
_first_asked: WeakSet[Callable[..., Any]] = WeakSet()


async def idempotent_transaction(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(description="A new one, such as a UUID, for each request that you may repeat."),
    ] = None,
) -> RequestTransaction:
    """The request's transaction, for reading and writing; a repeated request is not done again.

    The key is looked at when all dependencies have had their say, whatever their order: a kept
    answer is for those only who may send the request now.
    """
    transaction = of_request(request)
    is_safe = request.method in SAFE_METHODS
    transaction.require(write=not is_safe)
    _ = _current.set(None)
    if is_safe or idempotency_key is None:
        return transaction
    if len(request.headers.getlist("idempotency-key")) > 1 or not _KEY.fullmatch(idempotency_key):
        raise Problem(400, "Send one Idempotency-Key of 1 to 255 visible ASCII characters.")
    _ask_before_handler(_dependant_of(request.scope))
    _ = _current.set(request)
    transaction.unasked = True
    return transaction


def _dependant_of(scope: Scope) -> Dependant:
    # Where FastAPI 0.165 keeps the matched route with its routers' dependencies.
    route = scope["route"]
    context = scope.get("fastapi", {}).get("effective_route_context")
    found = context if context is not None and context.original_route is route else route
    return found.dependant  # type: ignore[no-any-return]


def _ask_before_handler(dependant: Dependant) -> None:
    """Have the key of a request looked at in the moment in which FastAPI calls the handler.

    By then every dependency was called and every parameter is valid, which a dependency, of which
    another one may come later, cannot know. FastAPI lets integrations wrap `dependant.call`.
    Raises RuntimeError for a handler that is a generator.
    """
    handler: Any = dependant.call
    if handler in _first_asked:
        return
    if models._is_gen_callable(handler) or models._is_async_gen_callable(handler):
        raise RuntimeError(
            f"{handler!r} streams, and a request with an Idempotency-Key does not: depend on "
            "Transaction there."
        )
    if models._is_coroutine_callable(handler):

        @wraps(handler)
        async def ask_first(**values: Any) -> Any:
            await _begin()
            return await handler(**values)

    else:

        @wraps(handler)
        def ask_first(**values: Any) -> Any:
            from_thread.run(_begin)
            return handler(**values)

    _first_asked.add(ask_first)
    dependant.call = ask_first


async def _begin() -> None:
    """Raise Unwind for a request that was done already, and Problem as `KeyedRequest.begin`."""
    request = _current.get()
    if request is None or of_request(request).is_over:
        return
    _ = _current.set(None)
    transaction = of_request(request)
    transaction.unasked = False
    using: Idempotency
    body: Any
    using, body = request.scope[SCOPE_KEY]
    if not body.is_whole:  # nobody has read it yet; the handler gets it from the same request
        _ = await request.body()
    key = request.headers["idempotency-key"].strip('"')
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    described = f"{request.method} {path} {request.headers.get('content-type', '')}\n".encode()
    fingerprint = hashlib.sha256(described + body.digest()).digest()
    principal = using.principal(request)
    keyed = KeyedRequest(principal, key, request.method, request.url.path, fingerprint)
    if (answer := await keyed.begin(transaction, using.wait)) is not None:
        await transaction.locate()  # so that what was written is found on a replica
        transaction.answer = answer
        raise Unwind
    transaction.keyed = keyed


IdempotentTransaction = Annotated[RequestTransaction, Depends(idempotent_transaction)]
"""The same as Transaction; who repeats an Idempotency-Key gets the answer of the first request."""


async def sweep_idempotency_keys(
    transaction: TransactionManager, *, age: timedelta = timedelta(hours=24), most: int = 10_000
) -> int:
    """Delete the answers of requests that are older than `age`, at most so many; return how many.

    A request that repeats a key after that is done again.
    """
    old = sa.select(_ROWS.c.principal, _ROWS.c.key)
    old = old.where(_ROWS.c.created_at < sa.func.now() - sa.literal(age, sa.Interval)).limit(most)
    named = sa.tuple_(_ROWS.c.principal, _ROWS.c.key)
    return int((await transaction.execute(sa.delete(_ROWS).where(named.in_(old)))).rowcount)
