"""Connects the service to its database, and goes on trying while it cannot."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Self

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from . import DataAccessLayer
from .data.engine import engine_from
from .entities import EntityMismatch, check_entities
from .observe.otel import observe
from .schema.revisions import head_revision, is_known, schema_revision
from .settings import Settings
from .web.garbage import frozen_garbage

#: Seconds between two attempts while the database cannot be used.
RETRY_INTERVAL = 1.0
log = structlog.get_logger(__name__)


class NotReady(Exception):
    """The database answers, but its schema is not the one this code was written for."""


class Database:
    """The engines and the tables of a service, for the `async with` of its lifespan.

    `dal` can be handed on before. One that is passed in stays its owner's, and is used as it is.
    """

    def __init__(
        self, settings: Settings, *, entities: Sequence[type], dal: DataAccessLayer | None = None
    ) -> None:
        self.dal = dal or DataAccessLayer(fast_path=settings.database_fast_path)
        self._is_own = dal is None
        self._settings = settings
        self._entities = entities
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._is_own:
            await self._stack.enter_async_context(with_engines(self.dal, self._settings))
        self._stack.enter_context(observe(self.dal))
        if self._is_own:
            await self._stack.enter_async_context(with_tables(self.dal, self._entities))
            self._stack.enter_context(frozen_garbage())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def problem(self) -> str:
        """Why the service cannot work with its database; empty when it can."""
        return await schema_problem(self.dal, self._entities)


@asynccontextmanager
async def with_engines(dal: DataAccessLayer, settings: Settings) -> AsyncIterator[None]:
    """Give `dal` the configured engines, and dispose of them at the end; nothing is connected."""
    if settings.database_url is None:
        log.warning("DATABASE_URL is not set: every request that needs the database answers 503.")
        yield
        return
    engine = engine_from(settings)
    url = settings.database_read_url
    replica = engine_from(settings, url=url) if url else None
    dal.use(engine, replica=replica, schemas=settings.database_schemas or None)
    try:
        yield
    finally:
        await _disposed(engine, replica)


@asynccontextmanager
async def with_tables(dal: DataAccessLayer, entities: Sequence[type]) -> AsyncIterator[None]:
    """Reflect `dal` and check it against `entities`, now or as soon as the database is ready.

    Raises EntityMismatch when an entity does not fit the migrated database.
    """
    retrying = None
    try:
        if dal.engines and not await _reflected(dal, entities):
            retrying = asyncio.create_task(_reflect_when_ready(dal, entities))
        yield
    finally:
        await _stopped(retrying)


async def schema_problem(dal: DataAccessLayer, entities: Sequence[type]) -> str:
    """Why the service cannot work with its database; empty when it can.

    Raises what `db.faults` maps to 503 when the database does not answer.
    """
    async with dal.transaction(with_commit=False) as transaction:
        revision = await schema_revision(await transaction.connection())
    if revision != head_revision():
        return _behind_or_ahead(revision)
    if not dal.is_reflected:
        return "The tables are being reflected."
    try:
        check_entities(dal, entities)
    except EntityMismatch as error:
        log.error(str(error))
        return "The models do not fit the tables; the log names each field."
    return ""


def _behind_or_ahead(revision: str | None) -> str:
    needed = f"this code needs {head_revision()}"
    if revision is None:
        return f"The database is not migrated, {needed}: run `db sync`."
    if is_known(revision):
        return f"The schema is at revision {revision}, {needed}: run `db sync`."
    return f"The schema is at revision {revision}, {needed}: it is newer; deploy its code."


async def _reflected(dal: DataAccessLayer, entities: Sequence[type]) -> bool:
    """Reflect and check; False, with one line in the log, when the database is not ready."""
    try:
        async with dal.engine.connect() as conn:
            revision = await schema_revision(conn)
        if revision != head_revision():
            raise NotReady(_behind_or_ahead(revision))
        await dal.refresh()
    except (OSError, SQLAlchemyError, NotReady) as error:
        log.warning("The database is not ready; trying again.", reason=_reason(error))
        return False
    check_entities(dal, entities)
    return True


async def _reflect_when_ready(dal: DataAccessLayer, entities: Sequence[type]) -> None:
    while True:
        await asyncio.sleep(RETRY_INTERVAL)
        try:
            if await _reflected(dal, entities):
                log.info("The database is ready.")
                return
        except (EntityMismatch, LookupError) as error:
            log.error(str(error))
        except Exception:
            log.exception("The database could not be looked at; trying again.")


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error) or type(error).__name__


async def _stopped(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _disposed(*engines: AsyncEngine | None) -> None:
    async with AsyncExitStack() as stack:
        for engine in filter(None, engines):
            stack.push_async_callback(engine.dispose)
