"""The engine's limits hold, and PgBouncer's transaction mode finds nothing it refuses."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import JSON, bindparam, exc, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from dalkit.data.engine import create_engine, engine_from
from dalkit.settings import Settings

LIMITS: dict[str, Any] = {
    "statement_timeout": 30.0,
    "lock_timeout": 2.5,
    "idle_in_transaction_timeout": 60.0,
}
READ_LIMITS = text(
    "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),"
    " current_setting('idle_in_transaction_session_timeout')"
)


@asynccontextmanager
async def connecting(url: str, **options: Any) -> AsyncIterator[AsyncConnection]:
    engine = create_engine(url, **options)
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


async def test_limits_are_set_for_the_session(engine_uri: str) -> None:
    async with connecting(engine_uri, **LIMITS) as connection:
        assert (await connection.execute(READ_LIMITS)).one() == ("30s", "2500ms", "1min")


async def test_a_long_statement_is_cancelled(engine_uri: str) -> None:
    async with connecting(engine_uri, statement_timeout=0.1) as connection:
        with pytest.raises(exc.DBAPIError) as caught:
            await connection.execute(text("SELECT pg_sleep(10)"))
        assert getattr(caught.value.orig, "sqlstate", None) == "57014"  # query_canceled


async def test_a_full_pool_refuses_after_the_pool_timeout(engine_uri: str) -> None:
    engine = create_engine(engine_uri, pool_size=1, pool_timeout=0.2)
    async with engine.connect():
        started = time.monotonic()
        with pytest.raises(exc.TimeoutError):
            async with engine.connect():
                pass
    assert 0.15 < time.monotonic() - started < 2
    await engine.dispose()


async def test_a_silent_server_is_given_up_on() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"postgresql://u:p@127.0.0.1:{port}/n"
        async with asyncio.timeout(5):
            with pytest.raises(TimeoutError):
                async with connecting(url, connect_timeout=0.2):
                    pass


async def test_pgbouncer_gets_no_limits_in_the_startup_packet() -> None:
    """It answers "unsupported startup parameter" to all but a few names."""
    packet: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(4), "big")
        packet.set_result(await reader.readexactly(size - 4))
        writer.close()

    async with await asyncio.start_server(receive, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"postgresql://u:p@127.0.0.1:{port}/n?sslmode=disable"
        with pytest.raises(exc.DBAPIError):
            async with connecting(url, pgbouncer=True, application_name="me", **LIMITS):
                pass
        names = (await packet)[4:].split(b"\0")[::2]
    assert {name for name in names if name} == {
        b"user",
        b"database",
        b"client_encoding",
        b"application_name",
    }


async def test_pgbouncer_gets_the_limits_in_each_transaction(engine_uri: str) -> None:
    async with connecting(engine_uri, pgbouncer=True, **LIMITS) as connection:
        assert (await connection.execute(READ_LIMITS)).one() == ("30s", "2500ms", "1min")
        await connection.rollback()
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        assert await raw.fetchval("SHOW lock_timeout") == "0"


async def test_pgbouncer_leaves_no_prepared_statement_behind(engine_uri: str) -> None:
    async with connecting(engine_uri, pgbouncer=True) as connection:
        await connection.execute(text("SELECT :n + 1"), {"n": 1})
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        await raw.fetchval("SELECT $1 + 1", 1)
        assert await raw.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0


async def test_the_json_functions_can_be_replaced(engine_uri: str) -> None:
    engine = create_engine(
        engine_uri, json_serializer=lambda _: '"written"', json_deserializer=lambda text: [text]
    )
    async with engine.connect() as connection:
        statement = select(bindparam("value", {}, type_=JSON).label("value"))
        assert await connection.scalar(statement) == ['"written"']
    await engine.dispose()


@pytest.mark.no_pgbouncer("these settings say that there is none")
async def test_settings_make_an_engine_in_one_call(settings: Settings) -> None:
    engine = engine_from(settings, pool_size=3, application_name="from settings")
    async with engine.connect() as connection:
        assert (await connection.execute(READ_LIMITS)).one() == ("30s", "5s", "1min")
        name = text("SELECT current_setting('application_name')")
        assert await connection.scalar(name) == "from settings"
    await engine.dispose()


def test_settings_without_a_url_say_what_to_set() -> None:
    with pytest.raises(ValueError, match="DATABASE_URL is not set"):
        engine_from(Settings(_env_file=None))
