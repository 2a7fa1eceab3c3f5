"""A cache in a PostgreSQL database, in the schema dalkit_view."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..data.engine import create_engine
from ..data.faults import address
from ..errors import is_collision
from .cache_sql import FORMAT, SCHEMA, Dialect, Steps
from .codec import dumps
from .errors import CacheError

T = TypeVar("T")
NAME = "dalkit_view"
#: Of the advisory lock under which one process makes the tables: "dalv".
LOCK = 0x64616C76
#: How often a write is tried again: two processes may have the same keys in another order.
MOST_DEADLOCKS = 5


def texts(shape: int, keys: Sequence[int | str]) -> Steps[list[Any]]:
    """Times and values of these rows."""
    some = "SELECT value FROM json_array_elements_text(CAST($2 AS json)) AS keys(value)"
    sql = f"SELECT at, row FROM rows WHERE shape = $1 AND row IS NOT NULL AND key IN ({some})"
    return (yield sql, (shape, dumps(keys)))


DIALECT = Dialect(
    keys="json_array_elements_text(CAST(? AS json)) AS keys(value)",
    pairs="json_array_elements(CAST(?list AS json)) AS e(value)",
    first="e.value ->> 0",
    second="e.value ->> 1",
    members="LATERAL json_array_elements_text(CAST(s.members AS json)) AS m(value) ON true",
    texts=texts,
)


class PostgresCache:
    """Tables in a schema of their own; keys are text there."""

    dialect = DIALECT
    errors: tuple[type[BaseException], ...] = (
        *(OSError, SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError),
    )

    def __init__(self, given: AsyncEngine | URL | str) -> None:
        self._own = None if isinstance(given, AsyncEngine) else create_engine(given, pool_size=3)
        self._engine: AsyncEngine = self._own or given  # type: ignore[assignment]

    async def open(self) -> None:
        """Make the schema when there is none; raises CacheError."""
        try:
            async with self._begun("READ COMMITTED") as conn:
                await _prepare(await _driver(conn))
        except self.errors as error:
            raise CacheError(self.sentence(error)) from error

    @asynccontextmanager
    async def _begun(self, isolation: str) -> AsyncIterator[AsyncConnection]:
        async with self._engine.connect() as conn:
            _ = await conn.execution_options(isolation_level=isolation)
            async with conn.begin():
                yield conn

    async def close(self) -> None:
        """Close the connections, unless the engine is another's."""
        if self._own is not None:
            await self._own.dispose()

    def row_now(self, shape: int, key: int | str) -> Sequence[tuple[float, str | None]]:
        """None: it would have to wait for the network."""
        return ()

    async def read(self, steps: Steps[T], size: int) -> T:
        """Run what only reads, as of one moment."""
        return await self._run(steps, "REPEATABLE READ")

    async def write(self, steps: Callable[[], Steps[T]]) -> T:
        """Run it in one transaction, and again after a deadlock with another process."""
        for _ in range(MOST_DEADLOCKS):
            try:
                return await self._run(steps(), "READ COMMITTED")
            except self.errors as error:
                if not is_collision(error):
                    raise
        return await self._run(steps(), "READ COMMITTED")

    async def _run(self, made: Steps[T], isolation: str) -> T:
        async with self._begun(isolation) as conn:
            driver = await _driver(conn)
            await driver.execute(f"SET LOCAL search_path TO {NAME}")
            try:
                sql, values = next(made)
                while True:
                    rows = await driver.fetch(sql.replace("?", "$"), *values)
                    sql, values = made.send(rows)
            except StopIteration as done:
                result: T = done.value
                return result

    def sentence(self, error: BaseException) -> str:
        """What is wrong with the database; it names no password."""
        where = address(self._engine.url)
        orig = getattr(error, "orig", None) or error
        return f"The cache in PostgreSQL at {where} cannot be used ({str(orig).splitlines()[0]})."


async def _driver(conn: AsyncConnection) -> Any:
    """asyncpg's connection, in the transaction that SQLAlchemy has begun."""
    await conn.exec_driver_sql("SELECT")
    return (await conn.get_raw_connection()).driver_connection


async def _prepare(driver: Any) -> None:
    await driver.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
    if await driver.fetchval("SELECT to_regnamespace($1)", NAME) is not None:
        comment = await driver.fetchval(
            "SELECT obj_description(to_regnamespace($1)::oid, 'pg_namespace')", NAME
        )
        if comment != f"dalkit.view {FORMAT}":
            raise CacheError(
                f"The schema {NAME} is of another program or format: drop it, or use another "
                "database for the cache."
            )
        return
    await driver.execute(f"CREATE SCHEMA {NAME}")
    await driver.execute(f"COMMENT ON SCHEMA {NAME} IS 'dalkit.view {FORMAT}'")
    await driver.execute(f"SET LOCAL search_path TO {NAME}")
    words = {"counter": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "key": "text"}
    for statement in SCHEMA:
        await driver.execute(statement.format(**words, option=""))
