"""The contract with SQLAlchemy's asyncpg dialect that db/wire.py relies on."""

import asyncpg
import pytest
from sqlalchemy import text

from {{ cookiecutter.__package_name }}.db import DataAccessLayer
from {{ cookiecutter.__package_name }}.db.wire import (
    Begun,
    Unbegun,
    begin,
    begin_statement,
    defer_begin,
)


async def _driver_and_adapter(conn: object) -> tuple[asyncpg.Connection, object]:
    proxy = await conn.get_raw_connection()  # type: ignore[attr-defined]
    return proxy.driver_connection, proxy.dbapi_connection


async def test_the_dialect_begins_nothing_while_begin_is_deferred(db: DataAccessLayer) -> None:
    async with db.engine.connect() as conn:
        driver = await defer_begin(conn)
        await conn.execute(text("SELECT 1"))
        assert not driver.is_in_transaction()


async def test_the_dialect_keeps_our_transaction_where_it_keeps_its_own(
    db: DataAccessLayer,
) -> None:
    async with db.engine.connect() as conn:
        driver, adapter = await _driver_and_adapter(conn)
        assert adapter._transaction is None  # type: ignore[attr-defined]
        await conn.execute(text("SELECT 1"))
        assert driver.is_in_transaction()
        assert isinstance(adapter._transaction, asyncpg.transaction.Transaction)  # type: ignore[attr-defined]


async def test_sqlalchemys_commit_and_rollback_end_our_transaction(db: DataAccessLayer) -> None:
    async with db.engine.connect() as conn:
        driver, adapter = await _driver_and_adapter(conn)
        for end in (conn.commit, conn.rollback):
            _ = await conn.begin()
            await begin(conn, isolation=None, readonly=False)
            assert driver.is_in_transaction()
            assert isinstance(adapter._transaction, Begun)  # type: ignore[attr-defined]
            await end()
            assert not driver.is_in_transaction()
            assert adapter._transaction is None  # type: ignore[attr-defined]


async def test_unbegun_has_nothing_to_end() -> None:
    await Unbegun().commit()
    await Unbegun().rollback()


@pytest.mark.parametrize(
    ("isolation", "readonly", "statement"),
    [
        (None, False, "BEGIN"),
        (None, True, "BEGIN READ ONLY"),
        ("SERIALIZABLE", False, "BEGIN ISOLATION LEVEL SERIALIZABLE"),
        ("REPEATABLE READ", True, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
    ],
)
def test_begin_names_its_options(isolation: str | None, readonly: bool, statement: str) -> None:
    assert begin_statement(isolation, readonly) == statement


def test_an_unknown_isolation_level_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'SNAPSHOT'; use one of READ COMMITTED"):
        begin_statement("SNAPSHOT", readonly=False)
