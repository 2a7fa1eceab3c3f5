"""The transaction of a request, as the dependencies that hand it out."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, NoReturn

from fastapi import Depends
from sqlalchemy import Executable
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from ..data.dal import DataAccessLayer
from ..data.transaction import Context, TransactionManager
from ..fast.fastpath import Row

if TYPE_CHECKING:
    from .idempotency import Answer, KeyedRequest

#: Where TransactionMiddleware keeps the request's transaction in the ASGI scope.
SCOPE_KEY = "db.transaction"
#: Seconds in which a client has to take or send something of a stream that holds a connection.
CLIENT_TIMEOUT = 30.0


class Unwind(BaseException):
    """Leaves the application, past every handler and background task, to TransactionMiddleware.

    An Exception would not do: Starlette answers one that comes out of `send` with RuntimeError
    ("response already started"), and merely dropping messages would run the background tasks.
    """


class RequestTransaction(TransactionManager):
    """The one transaction of a request; TransactionMiddleware decides it, no handler does."""

    streaming = False  # rows are still being sent after the response has started
    replayed = False  # the request may be run again when PostgreSQL asks for it
    keyed: "KeyedRequest | None" = None  # its answer is to be kept
    answer: "Answer | None" = None  # that was kept, and is sent again
    unasked = False  # its Idempotency-Key was not looked at, as the handler was not called
    _writing = False
    _reserved = False

    def __init__(self, dal: DataAccessLayer, context: Context = None) -> None:
        super().__init__(None, dal, context=context)

    async def commit(self) -> NoReturn:
        """Refused: raises RuntimeError."""
        raise RuntimeError("The request commits its transaction: return a response below 400.")

    async def rollback(self) -> NoReturn:
        """Refused: raises RuntimeError."""
        raise RuntimeError(
            "The request rolls its transaction back: raise, or return a response of 400 or above. "
            "Use `async with transaction.savepoint():` to undo a part."
        )

    def hold_open(self) -> None:
        """Keep the transaction open, READ ONLY, until the response has ended or its client is gone.

        Raises RuntimeError when the transaction may already have written.
        """
        if self._begun and not self.readonly:
            raise RuntimeError(
                "A response cannot be streamed from a transaction that may have written: "
                "declare `ReadTransaction`, or read everything before the response starts."
            )
        self.reserve()
        self.readonly = self.streaming = True

    def reserve(self) -> None:
        """Take a place among the requests that last as long as their clients like, until the end.

        Half of the pool is for them; raises TooManyStreams, which is answered with 503, beyond it.
        """
        if self.is_over:
            raise RuntimeError(self._over)
        if not self._reserved:
            self.dal.begin_stream()
            self._reserved = True

    async def finish(self, *, commit: bool, over: str) -> None:
        """End for good, and give back the place."""
        try:
            await super().finish(commit=commit, over=over)
        finally:
            if self._reserved:
                self._reserved = False
                self.dal.end_stream()

    def before_stream(self) -> None:
        """Keep a transaction that only reads open for a stream of its session's."""
        if self.readonly:
            self.hold_open()

    def stream(self, statement: Executable, *, batch_size: int = 500) -> AsyncIterator[Row]:
        """Rows from a server-side cursor, for a StreamingResponse; call it in the handler.

        The transaction stays open, READ ONLY, until the last byte or the client's abort.
        """
        self.hold_open()
        return super().stream(statement, batch_size=batch_size)

    @property
    def _is_located(self) -> bool:
        return self._writing and self.dal.replica is not None

    def require(self, *, write: bool, isolation: str | None = None, fresh: bool = False) -> None:
        """Note what a dependency asks for: one that writes makes the whole request writable, one
        that is `fresh` has it run on the primary.

        Raises RuntimeError when a statement has already run under other terms.
        """
        writing = self._writing or write
        changed = (not writing) != self.readonly or (isolation or self.isolation) != self.isolation
        if self.used and (changed or (fresh and self._is_on_replica)):
            raise RuntimeError(
                "A dependency has already used the request's transaction as read-only, on the "
                "replica or at another isolation level: let it ask for the same kind as the "
                "handler."
            )
        self._writing, self.readonly = writing, not writing
        self.fresh |= fresh
        self.isolation = isolation or self.isolation


def of_request(connection: HTTPConnection) -> RequestTransaction:
    """The transaction of this request; raises RuntimeError where there is none."""
    if connection.scope["type"] == "websocket":
        raise RuntimeError(
            "A WebSocket has no request transaction: use `async with dal.transaction()`, "
            "or `async with dal.session()` for the ORM."
        )
    transaction = connection.scope.get(SCOPE_KEY)
    if not isinstance(transaction, RequestTransaction):
        raise RuntimeError(
            "No TransactionMiddleware: call app.add_middleware(TransactionMiddleware, dal=dal)."
        )
    return transaction


def note_collision(connection: HTTPConnection) -> None:
    """Tell the request's transaction of a collision that it has not seen itself."""
    if transaction := connection.scope.get(SCOPE_KEY):
        transaction.collided = True


async def request_transaction(connection: HTTPConnection) -> RequestTransaction:
    """The request's transaction, for reading and writing."""
    transaction = of_request(connection)
    transaction.require(write=True)
    return transaction


async def read_transaction(connection: HTTPConnection) -> RequestTransaction:
    """The request's transaction, READ ONLY unless another dependency of the request writes."""
    transaction = of_request(connection)
    transaction.require(write=False)
    return transaction


async def fresh_read_transaction(connection: HTTPConnection) -> RequestTransaction:
    """The same as `read_transaction`, never on the replica."""
    transaction = of_request(connection)
    transaction.require(write=False, fresh=True)
    return transaction


async def serializable_transaction(connection: HTTPConnection) -> RequestTransaction:
    """The request's transaction at SERIALIZABLE; the request is run again when it conflicts."""
    transaction = of_request(connection)
    transaction.require(write=True, isolation="SERIALIZABLE")
    transaction.replayed = True
    return transaction


async def request_session(connection: HTTPConnection) -> AsyncSession:
    """The ORM's session of the request's transaction, for reading and writing."""
    return (await request_transaction(connection)).session


async def read_session(connection: HTTPConnection) -> AsyncSession:
    """The ORM's session of the request's transaction, READ ONLY unless a dependency writes."""
    return (await read_transaction(connection)).session


#: What an operation depends on that uses the database.
TRANSACTION_DEPENDENCIES = (
    request_transaction,
    read_transaction,
    fresh_read_transaction,
    serializable_transaction,
    *(request_session, read_session),
)

Transaction = Annotated[RequestTransaction, Depends(request_transaction)]
"""The request's one transaction: committed when the response begins, if its status is below 400."""
ReadTransaction = Annotated[RequestTransaction, Depends(read_transaction)]
"""The same, READ ONLY unless another dependency writes; on the replica, where there is one that has
what the request's X-Database-Position stands for."""
FreshReadTransaction = Annotated[RequestTransaction, Depends(fresh_read_transaction)]
"""The same as ReadTransaction, but on the primary: it sees whatever was committed before."""
SerializableTransaction = Annotated[RequestTransaction, Depends(serializable_transaction)]
"""The same, SERIALIZABLE; the request is run again when PostgreSQL asks for it."""
