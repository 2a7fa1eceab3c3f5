"""Connects the service to its database, goes on trying while it cannot, and says what is wrong."""

import asyncio
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import Context
from typing import Self

import asyncpg
import structlog
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from .collector import tuned_gc
from .data.dal import DataAccessLayer
from .data.engine import engine_from
from .data.faults import address, unreachable
from .entities import EntityMismatch, check_entities
from .errors import DRIVER_ERRORS, DatabaseUnreachable, UnknownSchema
from .observe.otel import observe
from .schema.expected import (
    HIDDEN_REVISION,
    Status,
    compare_with_expected,
    console_script,
    expected_revision,
    has_migrations,
    typed_here,
)
from .settings import Settings

#: Seconds between two attempts while the database cannot be used.
RETRY_INTERVAL = 1.0
#: Seconds that /readyz gives the database to say its revision.
PATIENCE = 2.0
NOT_READY = "The database is not ready; trying again."
log = structlog.get_logger(__name__)


class Database:
    """The engines and the tables of a service, for the `async with` of its lifespan.

    `dal` can be handed on before. One that is passed in stays its owner's, and is used as it is.
    Entering does not wait for a database that is away or not migrated yet: the tables are reflected
    as soon as it is there. When `entities` do not fit the schema that this code was written for it
    ends the process with one sentence; where no server runs, as in a test, it raises
    EntityMismatch.
    """

    def __init__(
        self, settings: Settings, *, entities: Sequence[type], dal: DataAccessLayer | None = None
    ) -> None:
        self.dal = dal or DataAccessLayer(fast_path=settings.database_fast_path)
        self._is_own = dal is None
        self._settings = settings
        self._entities = entities
        self._stack = AsyncExitStack()
        self._revision: str | None = None  # that the tables were reflected at
        self._said: object = None
        self._reflecting: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[tuple[str | None, str | None]] | None = None

    async def __aenter__(self) -> Self:
        try:
            async with AsyncExitStack() as stack:
                if self._is_own:
                    self._make_engines(stack)
                stack.enter_context(observe(self.dal))
                stack.push_async_callback(self._stop)
                if self._is_own:
                    if self.dal.engines and not await self._reflect():
                        self._reflect_in_background()
                    stack.enter_context(tuned_gc())
                self._stack = stack.pop_all()
        except (EntityMismatch, UnknownSchema) as error:
            await _end_the_server(str(error))
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _make_engines(self, stack: AsyncExitStack) -> None:
        """Give the tables the configured engines; nothing is connected."""
        settings, replica = self._settings, None
        if settings.database_url is None:
            log.warning("DATABASE_URL is not set: what needs the database answers 503.")
            return
        engine = engine_from(settings)
        stack.push_async_callback(engine.dispose)
        if settings.database_read_url is not None:
            replica = engine_from(settings, url=settings.database_read_url.get_secret_value())
            stack.push_async_callback(replica.dispose)
        self.dal.use(engine, replica=replica, schemas=settings.database_schemas or None)
        if self.dal.replica is not None:
            stack.push_async_callback(self.dal.replica.stop)

    async def problem(self) -> str:
        """Return why the service cannot work with its database; empty when it can.

        The database is asked over a connection of its own, one at a time, so that it does not wait
        for requests. Raises DatabaseUnreachable when there is no answer within PATIENCE.
        """
        if not self.dal.engines:
            return "DATABASE_URL is not set."
        if self._asking is None or self._asking.done():
            url = self.dal.engine.url
            self._asking = asyncio.create_task(_ask_revision(url))
        revision, hidden = await asyncio.shield(self._asking)
        if behind := self._behind(revision, hidden):
            return behind
        if self._is_own and revision != self._revision:
            self._reflect_in_background()
        if not self.dal.is_reflected:
            return "The tables are being reflected."
        try:
            check_entities(self.dal, self._entities)
        except EntityMismatch as error:
            self._say(log.error, str(error))
            return f"The models do not fit the tables{_newer(revision)}; the log names each field."
        return ""

    def _behind(self, revision: str | None, hidden: str | None) -> str:
        """Return what has to be done before this code can use the schema; empty for nothing."""
        if not has_migrations():
            return ""
        if hidden:
            return hidden
        script = console_script(type(self._settings))
        remedy = typed_here("migrate", f"{script} db sync" if script else "alembic upgrade head")
        needed = f"this code needs {expected_revision()}: run `{remedy}`."
        match compare_with_expected(revision):
            case Status.NO_INFO:
                return f"The database is not migrated, {needed}"
            case Status.UPGRADE_AVAILABLE:
                return f"The schema is at revision {revision}, {needed}"
        return ""

    async def _reflect(self) -> bool:
        """Reflect and check; False, with one line in the log, when the database is not ready.

        Raises EntityMismatch when the schema is this code's and the entities do not fit it.
        """
        url = self.dal.engine.url
        try:
            revision, hidden = await _ask_revision(url)
            if behind := self._behind(revision, hidden):
                self._say(log.warning, NOT_READY, reason=f"{address(url)}: {behind}")
                return False
            await self.dal.refresh()
        except (OSError, SQLAlchemyError) as error:
            told = None if isinstance(error, DatabaseUnreachable) else unreachable(error, url)
            self._say(log.warning, NOT_READY, reason=told or str(error))
            return False
        self._revision = revision
        newer = _newer(revision)
        try:
            check_entities(self.dal, self._entities)
        except EntityMismatch as error:
            if not newer:
                raise
            self._say(log.error, str(error))
        else:
            if newer:
                event = "The schema is newer than this code, and the models fit it."
                log.warning(event, revision=revision, expected=expected_revision())
        return True

    def _reflect_in_background(self) -> None:
        if self._reflecting is None or self._reflecting.done():
            # What it logs for hours is not the probe's that it starts with.
            self._reflecting = asyncio.create_task(self._reflect_when_ready(), context=Context())

    async def _reflect_when_ready(self) -> None:
        while True:
            try:
                if await self._reflect():
                    self._say(log.info, "The database is ready.")
                    return
            except (EntityMismatch, UnknownSchema) as error:
                self._say(log.error, str(error))
            except Exception:
                log.exception("The database could not be looked at; trying again.")
            await asyncio.sleep(RETRY_INTERVAL)

    def _say(self, log_as: Callable[..., object], event: str, **values: str) -> None:
        """Log what was not the last thing to be logged: it is found out again every second."""
        if self._said != (event, values):
            self._said = event, values
            log_as(event, **values)

    async def _stop(self) -> None:
        for task in filter(None, (self._reflecting, self._asking)):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


def _newer(revision: str | None) -> str:
    """Return where a schema is that is newer than this code, empty when it is not."""
    if not has_migrations() or compare_with_expected(revision) is not Status.NEWER:
        return ""
    return f" at revision {revision}, newer than this code's {expected_revision()}"


async def _ask_revision(url: URL) -> tuple[str | None, str | None]:
    """Return the revision of the database, None without one.

    And a sentence when the role cannot see which. Raises DatabaseUnreachable, with host, database
    and remedy, also when it takes too long.
    """
    async with brief_connection(url, "readiness") as conn:
        found = await conn.fetchval("SELECT to_regclass('alembic_version')::text")
        rows = await conn.fetch("SELECT version_num FROM alembic_version") if found else ()
        hidden = None if rows else await conn.fetchval(HIDDEN_REVISION)
    return ", ".join(sorted(row["version_num"] for row in rows)) or None, hidden


@asynccontextmanager
async def brief_connection(url: URL, application_name: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection beside the pool, in a transaction that only reads, for PATIENCE seconds.

    Raises DatabaseUnreachable, with host, database and remedy, for whatever the server or the
    network refuses, and when the block takes too long.
    """
    arguments, options = url.get_dialect()().create_connect_args(url)
    options = {k: v for k, v in options.items() if k != "prepared_statement_cache_size"}
    options |= {
        "statement_cache_size": 0,
        "server_settings": {"application_name": application_name},
    }
    try:
        async with asyncio.timeout(PATIENCE):
            conn = await asyncpg.connect(*arguments, **options)
            try:
                # In a transaction, as behind PgBouncer each statement may meet another server.
                await conn.execute("BEGIN READ ONLY")
                yield conn
                await conn.execute("ROLLBACK")
                await conn.close()
            finally:
                conn.terminate()  # at once, whatever became of it; nothing after close()
    except (OSError, *DRIVER_ERRORS) as error:
        raise DatabaseUnreachable(unreachable(error, url) or str(error)) from error


async def _end_the_server(sentence: str) -> None:
    """End the process of a server with one sentence and status 1; elsewhere do nothing.

    A server logs the traceback of whatever the lifespan raises, and ends with a status of its own.
    An exit that is raised in a callback of the event loop goes past it, as at an import.
    """
    if not callable(signal.getsignal(signal.SIGTERM)):  # only a server gives SIGTERM a handler
        return
    logging.getLogger("uvicorn.error").disabled = True
    print(sentence, file=sys.stderr, flush=True)  # noqa: T201
    if multiprocessing.parent_process():
        # The parent of several workers takes any other status than 3 for a crash, and tries again.
        # At once, as it would wait for the answer of one that is about to end.
        os._exit(3)
    asyncio.get_running_loop().call_soon(sys.exit, 1)
    await asyncio.Event().wait()  # until it cancels this: the server must not hear of it before
