"""BEGIN and COMMIT as this service sends them, where SQLAlchemy's dialect keeps its own.

The asyncpg dialect holds the driver's transaction in one private attribute of its connection,
`_transaction`, and begins one whenever that is None. By putting an object of ours there, a plain
read can run without BEGIN and the command tag of COMMIT can be checked, while SQLAlchemy's own
commit and rollback go on working. tests/db/test_wire.py is the contract; the SQLAlchemy version
is bounded in pyproject.toml because of it.
"""

from typing import Any

import asyncpg
from sqlalchemy import Connection, PoolProxiedConnection
from sqlalchemy.ext.asyncio import AsyncConnection

from .errors import AbortedTransaction

#: The execution option of an engine with a statement to send along with each BEGIN.
AFTER_BEGIN = "after_begin"


class Unbegun:
    """Keeps the dialect from sending BEGIN; there is nothing to commit or to roll back."""

    async def commit(self) -> None:
        """Send nothing."""

    async def rollback(self) -> None:
        """Send nothing."""


class Begun:
    """A transaction that was begun by `begin`."""

    def __init__(self, driver: asyncpg.Connection) -> None:
        self._driver = driver

    async def commit(self) -> None:
        """Send COMMIT. Raises AbortedTransaction when PostgreSQL answers it with ROLLBACK."""
        if await self._driver.execute("COMMIT") != "COMMIT":
            raise AbortedTransaction

    async def rollback(self) -> None:
        """Send ROLLBACK."""
        await self._driver.execute("ROLLBACK")


async def begin(conn: AsyncConnection, *, isolation: str | None, readonly: bool) -> None:
    """Send BEGIN with these options and let SQLAlchemy know of it.

    SQLAlchemy is told first: should this be cancelled, its rollback sends the ROLLBACK that is
    needed if BEGIN has arrived, and that PostgreSQL only warns about if it has not.
    """
    statement = begin_statement(isolation, readonly)
    proxy = await conn.get_raw_connection()
    if after := conn.engine.get_execution_options().get(AFTER_BEGIN):
        statement += f"; {after}"
    driver: Any = proxy.driver_connection
    _dialect_state(proxy)._transaction = Begun(driver)
    await driver.execute(statement)


async def defer_begin(conn: AsyncConnection) -> asyncpg.Connection:
    """Let statements run without a transaction until `begin`; return asyncpg's connection."""
    proxy = await conn.get_raw_connection()
    _dialect_state(proxy)._transaction = Unbegun()
    return proxy.driver_connection


def is_begin_deferred(conn: Connection) -> bool:
    """Whether `defer_begin` was called and `begin` was not."""
    return isinstance(_dialect_state(conn.connection)._transaction, Unbegun)


def _dialect_state(proxy: PoolProxiedConnection) -> Any:
    return proxy.dbapi_connection


ISOLATION_LEVELS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")


def begin_statement(isolation: str | None, readonly: bool) -> str:
    """`BEGIN` with its options.

    Raises ValueError for an isolation level that PostgreSQL does not have.
    """
    if isolation is not None and isolation not in ISOLATION_LEVELS:
        raise ValueError(f"isolation is {isolation!r}; use one of {', '.join(ISOLATION_LEVELS)}.")
    level = f" ISOLATION LEVEL {isolation}" if isolation else ""
    return f"BEGIN{level}{' READ ONLY' if readonly else ''}"
