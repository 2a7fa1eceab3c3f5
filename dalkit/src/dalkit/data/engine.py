"""Make the asyncpg engine: pool, timeouts, JSON and the PgBouncer switch."""

import json
import os
import socket
from collections.abc import Generator, Mapping
from functools import partial
from typing import Any, NoReturn

import asyncpg
from pydantic import BaseModel, SecretStr
from pydantic_core import to_json
from sqlalchemy import URL, Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ..fast import wire
from ..fast.checkout import refuse_closed
from .urls import async_url


def loads(text: str) -> Any:
    """Return the value of JSON text, of which PostgreSQL takes more than Python does.

    An integer of more digits than Python reads, 4,300, is an infinite float, as 1e400 is. Raises
    ValueError for what is no JSON, and RecursionError.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return json.loads(text, parse_int=_integer)


def _integer(written: str) -> int | float:
    try:
        return int(written)
    except ValueError:
        return float(written)


def dumps(value: Any) -> str:
    """Return `value` as JSON text, by the rules with which pydantic writes response models.

    datetime, date and time are ISO 8601 with microseconds and offset, timedelta an ISO 8601
    duration, UUID (asyncpg's own subclass too) and Decimal strings, Enum its value (also as a
    key), set, frozenset, tuple and generator arrays; dataclasses and pydantic models objects.
    NaN and the infinities become null, because JSON (RFC 8259, section 6) has no such numbers
    and both Postgres' json types and browsers refuse them. Raises ValueError for other types.
    """
    return to_json(value, inf_nan_mode="null").decode()


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
    application_name: str | None = None,
    connect_args: dict[str, Any] | None = None,
    **extra: Any,
) -> AsyncEngine:
    """Return an engine for `url`, which may be any form `async_url` takes; nothing is connected.

    Times are in seconds and 0 means no limit. A connection that does not answer within
    `statement_timeout` and some seconds is given up, also when the network is silent. The pool
    never grows beyond `pool_size` and never pings: a request waits `pool_timeout` for a
    connection, then sqlalchemy.exc.TimeoutError. `pgbouncer` is for transaction mode. `extra` goes
    to SQLAlchemy, a `json_serializer` for example. Raises DatabaseUrlError.
    """
    seconds = {
        "statement_timeout": statement_timeout,
        "lock_timeout": lock_timeout,
        "idle_in_transaction_session_timeout": idle_in_transaction_timeout,
    }
    limits = {name: str(round(value * 1000)) for name, value in seconds.items() if value}
    named = {"application_name": application_name} if application_name else {}
    parsed = async_url(url)
    arguments: dict[str, Any] = {
        "async_creator_fn": _Connecting,
        "timeout": connect_timeout or None,
        "server_settings": named if pgbouncer else limits | named,
    }
    if statement_timeout and "command_timeout" not in parsed.query:
        arguments["command_timeout"] = statement_timeout + wire.GRACE
    if pgbouncer:
        arguments |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        arguments["connection_class"] = _PooledConnection
    if "poolclass" not in extra:
        extra = {"pool_size": pool_size, "pool_timeout": pool_timeout, "max_overflow": 0} | extra
    engine = create_async_engine(
        parsed,
        connect_args=arguments | (connect_args or {}),
        # Parameters are hidden because an exception's text is logged.
        **{"json_serializer": dumps, "json_deserializer": loads, "hide_parameters": True, **extra},
    )
    event.listen(engine.sync_engine, "checkout", refuse_closed)
    if pgbouncer:
        _use_transactions(engine, limits)
    return engine


def engine_from(config: object, **overrides: Any) -> AsyncEngine:
    """Return the engine that `config` describes; `overrides` are arguments of `create_engine`.

    `config` is as in `engine_options`. Raises ValueError without a URL, and DatabaseUrlError.
    """
    options = engine_options(config) | overrides
    url = options.pop("url", None)
    if url is None:
        raise ValueError("DATABASE_URL is not set: give postgresql://user:password@host/database.")
    return create_engine(url, **options)


def engine_options(config: object) -> dict[str, Any]:
    """Return the arguments of `create_engine` that a pydantic model, another object or a dict has.

    They are `database_url`, `database_pool_size` and so on, and all of `sqlalchemy` when there is
    such a part, with `url` in it; what is None is left out. The config is never changed.
    """
    names = ("url", *(create_engine.__kwdefaults__ or {}))  # the keyword arguments
    options = {name: config_value(config, f"database_{name}") for name in names}
    nested = config_value(config, "sqlalchemy")
    if nested is not None:
        options |= dict(nested) if isinstance(nested, Mapping | BaseModel) else vars(nested)
    options = {name: value for name, value in options.items() if value is not None}
    if isinstance(url := options.get("url"), SecretStr):
        options["url"] = url.get_secret_value()
    elif url is not None and not isinstance(url, URL):
        options["url"] = str(url)  # pydantic has types of its own
    return options


def config_value(config: Any, name: str) -> Any:
    """Return the item or the attribute, None without it."""
    return config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)


#: After half a minute without a sign of life the operating system gives a connection up.
#: TCP_USER_TIMEOUT is in milliseconds, the others in seconds.
_KEEP_ALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 30_000}


class _PooledConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection whose server is another one after each transaction."""

    async def add_listener(self, channel: str, callback: Any) -> NoReturn:
        """Refused: raises RuntimeError."""
        raise RuntimeError(
            f"LISTEN {channel} is lost behind PgBouncer, whose next client gets the server's "
            "connection: listen on one of your own, asyncpg.connect() to PostgreSQL itself."
        )


class _Connecting:
    """asyncpg.connect, called when it is awaited: without an event loop to do so nothing is left.

    checkout.py takes connections in the hope that the pool has one; SQLAlchemy gives this up then.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._connect = partial(asyncpg.connect, *args, **options)

    def __await__(self) -> Generator[Any, None, asyncpg.Connection]:
        connection = yield from self._connect().__await__()
        _keep_alive(connection._transport.get_extra_info("socket"))
        return connection


def _keep_alive(connected: Any) -> None:
    """Set _KEEP_ALIVE, as far as the platform has it; `connected` may be uvloop's pseudo socket."""
    if connected is None or connected.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with socket.socket(fileno=os.dup(connected.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            if hasattr(socket, name):
                same.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


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
