"""The ORM's session of a transaction: it has neither a connection nor a COMMIT of its own."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import Connection, event
from sqlalchemy.exc import InvalidRequestError, MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.util import await_only, greenlet_spawn

if TYPE_CHECKING:
    from .transaction import TransactionManager

HINT = (
    "An attribute was asked for that is not loaded. Load it with the statement, "
    "`select(Model).options(selectinload(Model.attribute))`, or "
    "`await instance.awaitable_attrs.attribute`."
)


class HintingSession(Session):
    """A session that tells what to do about a lazy load, which would block the event loop."""

    def execute(self, *args: Any, **options: Any) -> Any:
        """Run a statement; raises MissingGreenlet where nothing can be awaited."""
        try:
            return super().execute(*args, **options)
        except MissingGreenlet as error:
            if HINT in str(error):
                raise
            raise MissingGreenlet(f"{HINT} {error}") from error


class JoinedSession(HintingSession):
    """SQLAlchemy's part of a TransactionSession."""

    def __init__(self, *, transaction: "TransactionManager", **options: Any) -> None:
        super().__init__(**options)
        self.manager = transaction
        #: What sends COMMIT, while the transaction ends.
        self.end: Callable[[], Awaitable[None]] | None = None
        #: Whether a flush has failed: what it has written before must not be committed.
        self.is_spoilt = False

    def get_bind(self, *_: Any, **__: Any) -> Connection:
        """The connection of the transaction, taken now if there is none yet."""
        conn = self.manager.made_connection or await_only(self.manager.own_connection())
        return conn._proxied  # `sync_connection` is None once it is closed

    def begin(self, nested: bool = False) -> SessionTransaction:
        """A savepoint; raises InvalidRequestError for anything else."""
        if not nested:
            raise InvalidRequestError(
                "The session is in a transaction already: use begin_nested() for a part of it."
            )
        return super().begin(nested=True)

    def commit(self) -> None:
        """What `commit` of the transaction does."""
        await_only(self.manager.commit())

    def rollback(self) -> None:
        """What `rollback` of the transaction does."""
        await_only(self.manager.rollback())

    def close(self) -> NoReturn:
        """Refused: raises RuntimeError."""
        _refuse("close")

    def reset(self) -> NoReturn:
        """Refused: raises RuntimeError."""
        _refuse("reset")

    def invalidate(self) -> NoReturn:
        """Refused: raises RuntimeError."""
        _refuse("invalidate")

    @property
    def has_pending(self) -> bool:
        """Whether there is something to be flushed."""
        return bool(self.new or self.dirty or self.deleted)

    def commit_with(self, end: Callable[[], Awaitable[None]]) -> None:
        """Flush, await `end()` for COMMIT, unless nothing was asked of the database, and tell."""
        self.end = end
        try:
            super().commit()
        finally:
            self.end = None

    def undo(self) -> None:
        """Forget what was not committed; objects that are kept load their values anew."""
        super().rollback()
        self.is_spoilt = False

    def leave(self) -> None:
        """Let go of all objects, which keep their values."""
        super().close()


class _Joined:
    """The transaction of a session's connection, where SQLAlchemy expects one of its own."""

    is_active = True

    def __init__(self, session: JoinedSession) -> None:
        self._session = session

    def commit(self) -> None:
        """Send COMMIT, when it is the transaction that ends."""
        if self._session.end is None:
            raise InvalidRequestError("The session's transaction is not the session's to commit.")
        await_only(self._session.end())

    def rollback(self) -> None:
        """Send nothing, and let nothing be committed."""
        self._session.is_spoilt = True

    def close(self) -> None:
        """Nothing."""


@event.listens_for(JoinedSession, "after_begin")
def _join(session: JoinedSession, begun: SessionTransaction, connection: Connection) -> None:
    """Take the transaction of the connection out of SQLAlchemy's hands.

    A session rolls back when a flush fails. Whoever swallows that error would go on in another
    transaction, without what was written before. Private to SQLAlchemy: `_connections`; the
    contract is tests/orm/test_session.py.
    """
    if begun.parent is None:
        entry: Any = (connection, _Joined(session), True, False)
        connections: dict[Any, Any] = begun._connections
        connections[connection] = connections[connection.engine] = entry


def _refuse(method: str) -> NoReturn:
    raise RuntimeError(f"{method}() on the session of a transaction: it ends with that by itself.")


class TransactionSession(AsyncSession):
    """The session of one transaction, which flushes it before COMMIT and ends it."""

    sync_session_class = JoinedSession
    sync_session: JoinedSession

    def __init__(self, transaction: "TransactionManager") -> None:
        super().__init__(transaction=transaction, expire_on_commit=False)
        self._manager = transaction

    async def commit(self) -> None:
        """Commit the transaction, where its `commit` may be called; raises what that does."""
        await self._manager.commit()

    async def rollback(self) -> None:
        """Roll the transaction back, where its `rollback` may be called; raises what that does."""
        await self._manager.rollback()

    async def close(self) -> NoReturn:
        """Refused: raises RuntimeError."""
        _refuse("close")

    async def reset(self) -> NoReturn:
        """Refused: raises RuntimeError."""
        _refuse("reset")

    async def invalidate(self) -> NoReturn:
        """Refused: raises RuntimeError."""
        _refuse("invalidate")

    async def stream(self, *args: Any, **options: Any) -> Any:
        """A result from a server-side cursor; one that only reads may outlive the handler."""
        self._manager.before_stream()
        return await super().stream(*args, **options)

    async def flush_for_core(self) -> None:
        """Flush what is pending, as before a statement of the session's own."""
        if self.sync_session.autoflush and self.sync_session.has_pending:
            await self.flush()

    async def commit_with(self, end: Callable[[], Awaitable[None]]) -> None:
        """Flush and await `end()`, which sends COMMIT, if this has begun; raises what they do."""
        sync = self.sync_session
        begun = sync.get_transaction()
        if begun is None:
            return
        told: Any = sync.dispatch
        is_nested = sync.in_nested_transaction()
        if sync.has_pending or is_nested or told.before_commit or told.after_commit:
            await greenlet_spawn(sync.commit_with, end)
        else:  # the same, without SQLAlchemy's machinery
            await end()
            begun.close()

    async def undo(self, *, for_good: bool) -> None:
        """Forget what was not committed, before ROLLBACK is sent."""
        if self.in_transaction():
            sync = self.sync_session
            await greenlet_spawn(sync.leave if for_good else sync.undo)
