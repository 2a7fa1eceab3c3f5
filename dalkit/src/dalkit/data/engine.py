"""Make the asyncpg engine: pool, timeouts, JSON and the PgBouncer switch."""

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Protocol

import asyncpg
from pydantic import SecretStr
from sqlalchemy import URL, Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ..fast import wire
from ..fast.checkout import refuse_closed
from .encoding import dumps, loads
from .urls import async_url


class DatabaseConfig(Protocol):
    """The settings that `engine_from` reads; times are in seconds."""

    @property
    def database_url(self) -> SecretStr | None: ...
    @property
    def database_pool_size(self) -> int: ...
    @property
    def database_pool_timeout(self) -> float: ...
    @property
    def database_connect_timeout(self) -> float: ...
    @property
    def database_statement_timeout(self) -> float: ...
    @property
    def database_lock_timeout(self) -> float: ...
    @property
    def database_idle_in_transaction_timeout(self) -> float: ...
    @property
    def database_pgbouncer(self) -> bool: ...


def create_engine(
    url: str | URL,
    *,
    pool_size: int = 10,
    pool_timeout: float = 5.0,
    connect_timeout: float = 5.0,
    statement_timeout: float = 0,
    lock_timeout: float = 0,
    idle_in_transaction_timeout: float = 0,
    pgbouncer: bool = False,
    json_serializer: Callable[[Any], str] = dumps,
    json_deserializer: Callable[[str], Any] = loads,
    echo: bool = False,
    application_name: str | None = None,
    connect_args: dict[str, Any] | None = None,
    **extra: Any,
) -> AsyncEngine:
    """Return an engine for `url`, which may be any form `async_url` takes; nothing is connected.

    Times are in seconds and 0 means no limit. The pool never grows beyond `pool_size` and never
    pings: a request waits `pool_timeout` for a connection, then sqlalchemy.exc.TimeoutError.
    `pgbouncer` is for transaction mode. `extra` goes to SQLAlchemy. Raises DatabaseUrlError.
    """
    limits = _milliseconds(
        statement_timeout=statement_timeout,
        lock_timeout=lock_timeout,
        idle_in_transaction_session_timeout=idle_in_transaction_timeout,
    )
    named = {"application_name": application_name} if application_name else {}
    arguments = {
        "async_creator_fn": _Connecting,
        "timeout": connect_timeout or None,
        "server_settings": named if pgbouncer else limits | named,
    }
    if pgbouncer:
        arguments |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
    if "poolclass" not in extra:
        extra = {"pool_size": pool_size, "pool_timeout": pool_timeout, "max_overflow": 0} | extra
    engine = create_async_engine(
        async_url(url),
        connect_args=arguments | (connect_args or {}),
        json_serializer=json_serializer,
        json_deserializer=json_deserializer,
        echo=echo,
        **{"hide_parameters": True, **extra},  # an exception's text is logged
    )
    event.listen(engine.sync_engine, "checkout", refuse_closed)
    if pgbouncer:
        _use_transactions(engine, limits)
    return engine


def engine_from(settings: DatabaseConfig, **overrides: Any) -> AsyncEngine:
    """Return the engine that `settings` describe; `overrides` are arguments of `create_engine`."""
    url = overrides.pop("url", settings.database_url)
    if url is None:
        raise ValueError("DATABASE_URL is not set: give postgresql://user:password@host/database.")
    arguments = {
        "pool_size": settings.database_pool_size,
        "pool_timeout": settings.database_pool_timeout,
        "connect_timeout": settings.database_connect_timeout,
        "statement_timeout": settings.database_statement_timeout,
        "lock_timeout": settings.database_lock_timeout,
        "idle_in_transaction_timeout": settings.database_idle_in_transaction_timeout,
        "pgbouncer": settings.database_pgbouncer,
    }
    text = url.get_secret_value() if isinstance(url, SecretStr) else url
    return create_engine(text, **(arguments | overrides))


class _Connecting:
    """asyncpg.connect, called when it is awaited: without an event loop to do so nothing is left.

    checkout.py takes connections in the hope that the pool has one; SQLAlchemy gives this up then.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._connect = partial(asyncpg.connect, *args, **options)

    def __await__(self) -> Generator[Any, None, asyncpg.Connection]:
        connecting: Generator[Any, None, asyncpg.Connection] = self._connect().__await__()
        return connecting


def _milliseconds(**seconds: float) -> dict[str, str]:
    """Return the limits that are set, as Postgres takes them in a startup packet."""
    return {name: str(round(value * 1000)) for name, value in seconds.items() if value}


def _use_transactions(engine: AsyncEngine, limits: dict[str, str]) -> None:
    """Run nothing outside of BEGIN, and set the limits at each, for PgBouncer's transaction mode.

    It refuses the limits in the startup packet, and a session-wide SET would stay behind on a
    server connection that the next client gets.
    """
    engine.sync_engine.update_execution_options(**{wire.ALWAYS_BEGIN: True})
    if not limits:
        return
    calls = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in limits.items())

    def set_local(connection: Connection) -> None:
        if not wire.is_begun(connection):
            connection.exec_driver_sql(f"SELECT {calls}")

    event.listen(engine.sync_engine, "begin", set_local)
    engine.sync_engine.update_execution_options(**{wire.AFTER_BEGIN: f"SELECT {calls}"})
