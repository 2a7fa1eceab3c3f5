"""Whoever watches SQLAlchemy sees every statement, and whoever changes what it does is obeyed."""

import logging
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine

from dalkit import DataAccessLayer
from dalkit.data.engine import create_engine

from tests.fast.both_paths import outcome, undone

OWNER = sa.Table("owner", sa.MetaData(), sa.Column("id", sa.Integer))
TABLE_OF_ROW = sa.select(sa.cast(sa.literal_column("tableoid::regclass"), sa.Text)).select_from(
    OWNER
)


def literal(number: int) -> sa.Select[Any]:
    """A statement of one shape."""
    return sa.select(sa.literal(number).label("n"))


EVENTS = [
    "before_execute",
    "after_execute",
    "before_cursor_execute",
    "after_cursor_execute",
    "begin",
    "commit",
    "rollback",
    "handle_error",
    "engine_connect",
    "do_execute",
]


@pytest.fixture(params=EVENTS)
def listened(request: pytest.FixtureRequest, paths: DataAccessLayer) -> list[object]:
    """What somebody hears who listens to an event of the engine."""
    heard: list[object] = []

    def listener(*arguments: object) -> None:
        heard.append(arguments)

    event.listen(paths.engine.sync_engine, request.param, listener)
    return heard


async def test_whoever_listens_to_the_engine_hears_of_every_statement(
    paths: DataAccessLayer, listened: list[object]
) -> None:
    assert paths.compiled(literal(1), None) is None
    for statement in (literal(1), sa.select(sa.literal(1) / sa.literal(0, sa.Integer))):
        await outcome(paths, statement, fast=True)
        async with paths.transaction() as tx:
            assert await tx.fetch_value(literal(1)) == 1
    assert listened


async def test_whoever_listens_to_all_engines_does_too(paths: DataAccessLayer) -> None:
    def listener(*arguments: object) -> None: ...

    event.listen(Engine, "before_cursor_execute", listener)
    try:
        assert paths.compiled(literal(1), None) is None
    finally:
        event.remove(Engine, "before_cursor_execute", listener)
    assert paths.compiled(literal(1), None) is not None


async def test_the_logger_of_the_engine_at_info_shows_every_statement(
    paths: DataAccessLayer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "sqlalchemy.engine"):
        await outcome(paths, literal(1), fast=True)
    assert "SELECT $1::INTEGER AS n" in caplog.text
    assert paths.compiled(literal(1), None) is not None


async def test_echo_shows_every_statement(paths: DataAccessLayer) -> None:
    paths.engine.echo = True
    assert paths.compiled(literal(1), None) is None


async def test_a_schema_translated_by_the_engine_is_translated(paths: DataAccessLayer) -> None:
    paths.use(paths.engine.execution_options(schema_translate_map={None: "elsewhere"}))
    async with undone(paths, fast=True) as tx:
        await tx.execute(sa.insert(OWNER).values(id=1))
        assert await tx.fetch_value(TABLE_OF_ROW) == "elsewhere.owner"


async def test_what_is_asked_of_the_transactions_own_connection_is_done(
    paths: DataAccessLayer,
) -> None:
    heard: list[object] = []
    async with undone(paths, fast=True) as tx:
        conn = await tx.connection()
        assert await tx.fetch_all(TABLE_OF_ROW) == []
        _ = await conn.execution_options(schema_translate_map={None: "elsewhere"})
        await tx.execute(sa.insert(OWNER).values(id=1))
        assert await tx.fetch_value(TABLE_OF_ROW) == "elsewhere.owner"
    async with undone(paths, fast=True) as tx:
        conn = await tx.connection()
        event.listen(
            conn.sync_connection, "before_cursor_execute", lambda *all_: heard.append(all_)
        )
        await tx.fetch_all(TABLE_OF_ROW)
    assert len(heard) == 1


async def test_whoever_listens_to_the_replica_alone_hears_of_its_statements_too(
    paths: DataAccessLayer, paths_url: str
) -> None:
    replica, heard = create_engine(paths_url), []
    paths.use(paths.engine, replica=replica)
    event.listen(replica.sync_engine, "before_execute", lambda *_: heard.append(1))
    async with paths.transaction(readonly=True) as tx:
        assert await tx.fetch_value(literal(1)) == 1
    assert heard
    await replica.dispose()
