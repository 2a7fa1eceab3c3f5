"""The contract with SQLAlchemy's asyncpg dialect that fast/wire.py relies on."""

from typing import Any, cast

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from dalkit import DataAccessLayer
from dalkit.fast.wire import Begun, as_sqlalchemys, begin, begin_statement, has_ended, is_begun

FAILING = {
    "23505": "INSERT INTO author (name) VALUES ('twice'), ('twice')",
    "23502": "INSERT INTO author (name) VALUES (NULL)",
    "22012": "SELECT 1 / 0",
    "42601": "SELEKT",
    "42P01": "SELECT * FROM nowhere",
    "40001": "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$",
}


async def test_the_dialect_keeps_its_transaction_where_we_put_ours(db: DataAccessLayer) -> None:
    async with db.engine.connect() as conn:
        proxy: Any = await conn.get_raw_connection()
        adapter = proxy.dbapi_connection
        assert adapter._transaction is None
        await conn.execute(text("SELECT 1"))
        assert proxy.driver_connection.is_in_transaction()
        assert isinstance(adapter._transaction, asyncpg.transaction.Transaction)


async def test_sqlalchemys_commit_and_rollback_end_our_transaction(db: DataAccessLayer) -> None:
    async with db.engine.connect() as conn:
        proxy: Any = await conn.get_raw_connection()
        driver, adapter = proxy.driver_connection, proxy.dbapi_connection
        for end in (conn.commit, conn.rollback):
            _ = await conn.begin()
            await begin(proxy, driver, "BEGIN")
            assert driver.is_in_transaction()
            assert isinstance(adapter._transaction, Begun)
            assert await conn.run_sync(is_begun)
            await end()
            assert not driver.is_in_transaction()
            assert adapter._transaction is None


async def test_a_transaction_that_ended_without_sqlalchemy_is_not_ended_again(
    db: DataAccessLayer,
) -> None:
    async with db.engine.connect() as conn:
        proxy: Any = await conn.get_raw_connection()
        begun = await begin(proxy, proxy.driver_connection, "BEGIN")
        await begun.commit()
        has_ended(proxy)
        assert not await conn.run_sync(is_begun)
        assert await conn.scalar(text("SELECT 1")) == 1
        assert proxy.driver_connection.is_in_transaction()  # the dialect's own


@pytest.mark.parametrize("sqlstate", FAILING)
async def test_errors_are_those_that_sqlalchemy_raises(db: DataAccessLayer, sqlstate: str) -> None:
    async with db.engine.connect() as conn:
        proxy: Any = await conn.get_raw_connection()
        with pytest.raises(DBAPIError) as sqlalchemys:
            await conn.exec_driver_sql(FAILING[sqlstate])
        await conn.rollback()
        with pytest.raises(asyncpg.PostgresError) as asyncpgs:
            await proxy.driver_connection.execute(FAILING[sqlstate])
        ours = as_sqlalchemys(asyncpgs.value, proxy, db.engine.dialect, FAILING[sqlstate])
    theirs = sqlalchemys.value
    assert isinstance(ours, DBAPIError)
    assert (type(ours), str(ours)) == (type(theirs), str(theirs))
    assert type(ours.orig) is type(theirs.orig)
    assert ours.orig is not None
    assert cast(Any, ours.orig).sqlstate == sqlstate
    assert ours.orig.__cause__ is asyncpgs.value
    assert ours.connection_invalidated is theirs.connection_invalidated is False


async def test_errors_that_sqlalchemy_lets_through_stay_what_they_are(db: DataAccessLayer) -> None:
    async with db.engine.connect() as conn:
        proxy, error = await conn.get_raw_connection(), ValueError("not the database's")
        assert as_sqlalchemys(error, proxy, db.engine.dialect, "SELECT 1") is error


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
