"""The reflected tables and the engine, in one object that the application holds."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Self

from sqlalchemy import URL, Executable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from ..fast.checkout import Checkout
from ..fast.fastpath import Call, Plans
from ..fast.lease import Lease, PoolLease
from ..fast.watched import is_watched
from ..reflection import Only, ViewKeys
from .engine import create_engine
from .reflected_tables import ReflectedTables
from .transaction import DeferredTransaction, TransactionManager
from .unreachable import unreachable
from .urls import DatabaseUrlError


class DataAccessLayer(ReflectedTables):
    """A proxy to an engine and to the tables, views and constraints reflected through it."""

    def __init__(self, *, fast_path: bool = True, defer_begin: bool = True) -> None:
        super().__init__()
        self.fast_path = fast_path
        self.defer_begin = defer_begin
        self._plans: Plans | None = None
        self._checkouts: dict[AsyncEngine, Checkout] = {}
        self._aliases: dict[str, Any] = {}
        self._new_lease: Callable[[bool], Lease] = self._pool_lease

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str | URL,
        *,
        schemas: Sequence[str] | None = None,
        views: bool = True,
        only: Only = None,
        view_keys: ViewKeys | None = None,
        **engine_options: Any,
    ) -> AsyncIterator[Self]:
        """Make an engine, reflect as `reflect()` does, and dispose of the engine at the end.

        Raises OSError when the server cannot be reached, DBAPIError when it refuses.
        """
        dal, engine = cls(), create_engine(url, **engine_options)
        try:
            await dal.reflect(engine, schemas=schemas, views=views, only=only, view_keys=view_keys)
            yield dal
        finally:
            await engine.dispose()

    def set_aliased(self, name: str, alias: Any) -> None:
        """Remember an alias (a table alias, a table-valued function, ...) under a name."""
        self._aliases[name] = alias

    def get_aliased(self, name: str) -> Any:
        """The alias of this name; raises LookupError."""
        try:
            return self._aliases[name]
        except KeyError:
            known = ", ".join(sorted(self._aliases)) or "none"
            raise LookupError(f"No alias {name!r}. Known aliases: {known}.") from None

    @asynccontextmanager
    async def transaction(
        self, *, with_commit: bool = True, isolation: str | None = None, readonly: bool = False
    ) -> AsyncIterator[TransactionManager]:
        """A transaction of its own, for jobs and scripts: it commits at the end of its block.

        `isolation` is READ COMMITTED, REPEATABLE READ or SERIALIZABLE; `with_commit=False` rolls
        back at the end.
        """
        transaction = DeferredTransaction(self, isolation=isolation, readonly=readonly)
        try:
            yield transaction
            if with_commit:
                await transaction.commit()
        finally:
            await transaction.finish(
                commit=False, over="This transaction is over: its block has ended."
            )

    async def refresh(self) -> None:
        """Reflect again, as ReflectedTables does; plans of the old tables are dropped."""
        await super().refresh()
        self._plans = None

    def compiled(self, statement: Executable, parameters: object) -> Call | None:
        """How to run a statement on asyncpg itself; None when SQLAlchemy has to run it."""
        engine, replica = self.engine, self._replica
        if not self.fast_path or is_watched(engine) or (replica and is_watched(replica)):
            return None
        dialect = engine.sync_engine.dialect
        if self._plans is None or self._plans.dialect is not dialect:
            self._plans = Plans(dialect)
        return self._plans.call(statement, parameters)

    def lease(self, *, readonly: bool) -> Lease:
        """A connection for one transaction."""
        return self._new_lease(readonly)

    @contextmanager
    def leasing(self, new_lease: Callable[[bool], Lease]) -> Iterator[None]:
        """Take connections from elsewhere for a while; it is told whether they only read."""
        before, self._new_lease = self._new_lease, new_lease
        try:
            yield
        finally:
            self._new_lease = before

    def _pool_lease(self, readonly: bool) -> Lease:
        engine = self._replica if readonly and self._replica else self.engine
        checkout = self._checkouts.get(engine)
        if checkout is None:
            checkout = Checkout(engine)
            current = {one: self._checkouts[one] for one in self.engines if one in self._checkouts}
            self._checkouts = current | {engine: checkout}
        return PoolLease(checkout)


@asynccontextmanager
async def connect_or_exit(url: str | URL, **options: Any) -> AsyncIterator[DataAccessLayer]:
    """`DataAccessLayer.connect` for commands: one line on stderr and exit status 1 on failure."""
    async with AsyncExitStack() as stack:
        try:
            dal = await stack.enter_async_context(DataAccessLayer.connect(url, **options))
        except (OSError, DBAPIError) as error:
            raise SystemExit(unreachable(error, url) or str(error)) from None
        except DatabaseUrlError as error:
            raise SystemExit(str(error)) from None
        yield dal
