"""What each database error becomes, on errors that PostgreSQL really raised."""

import asyncio
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from dalkit import DataAccessLayer, DatabaseUnreachable, NotReflected
from dalkit.data.faults import fault_of

from tests.fast.both_paths import path


async def _raised(db: DataAccessLayer, statement: str) -> DBAPIError:
    with pytest.raises(DBAPIError) as caught:
        async with db.transaction() as tx:
            await tx.execute(sa.text(statement))
    return caught.value


async def end_connections(url: str, application_name: str) -> None:
    """End what a server process does for these connections, and wait until the client knows."""
    ending = await asyncpg.connect(url)
    await ending.fetch(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE application_name = $1 AND datname = current_database()",
        application_name,
    )
    await ending.close()
    await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("sqlstate", "status", "is_outage", "is_collision"),
    [
        ("23505", 409, False, False),
        ("23503", 409, False, False),
        ("23P01", 409, False, False),
        ("23502", 422, False, False),
        ("23514", 422, False, False),
        ("22003", 422, False, False),
        ("22P02", 422, False, False),
        ("40001", 503, False, True),
        ("40P01", 503, False, True),
        ("55P03", 503, False, False),
        ("57014", 503, False, False),
        ("25006", 503, False, False),
        ("08006", 503, True, False),
        ("28000", 503, True, False),
        ("53300", 503, True, False),
        ("57P01", 503, True, False),
        ("57P03", 503, True, False),
    ],
)
async def test_a_sqlstate_has_its_answer(
    db: DataAccessLayer, sqlstate: str, status: int, is_outage: bool, is_collision: bool
) -> None:
    statement = f"DO $$ BEGIN RAISE EXCEPTION 'secret' USING ERRCODE = '{sqlstate}'; END $$"
    fault = fault_of(await _raised(db, statement), db)
    assert fault is not None
    assert (fault.status, fault.is_outage, fault.is_collision) == (status, is_outage, is_collision)
    assert ("retry-after" in fault.headers) == (status == 503)
    assert "secret" not in fault.detail


@pytest.mark.parametrize("statement", ["SELECT nothing", "SELECT * FROM nowhere", "SELEC"])
async def test_a_defect_of_the_service_is_no_fault(db: DataAccessLayer, statement: str) -> None:
    assert fault_of(await _raised(db, statement), db) is None


@pytest.mark.parametrize(
    ("statement", "columns"),
    [
        ("INSERT INTO author (name) VALUES ('a'), ('a')", ("name",)),
        ("INSERT INTO author (name) VALUES (NULL)", ("name",)),
        ("INSERT INTO book (catalog, title, author_id) VALUES ('c', 't', 0)", ("author_id",)),
        (
            "INSERT INTO book (catalog, title, author_id, price) VALUES (1, 1, 0, -1)",
            ("price",),
        ),
        (
            "INSERT INTO book (catalog, title, author_id, published) VALUES (1, 1, 0, 'infinity')",
            ("published",),
        ),
    ],
)
async def test_the_columns_at_fault_come_from_the_constraint(
    db: DataAccessLayer, statement: str, columns: tuple[str, ...]
) -> None:
    fault = fault_of(await _raised(db, statement), db)
    assert fault is not None
    assert fault.columns == columns


EITHER = "A record that this refers to is missing, or others refer to this."
REFERRED = """DO $$ BEGIN
    INSERT INTO author (name) VALUES ('is not present in table "author".');
    INSERT INTO book (catalog, title, author_id) SELECT 'c', 't', id FROM author;
    DELETE FROM author;
END $$"""


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        (
            "INSERT INTO book (catalog, title, author_id) VALUES ('c', 't', 0)",
            "A record that this refers to is missing.",
        ),
        (REFERRED, EITHER),
        ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '23503'; END $$", EITHER),
    ],
)
async def test_a_foreign_key_says_which_record_is_missing(
    db: DataAccessLayer, statement: str, sentence: str
) -> None:
    fault = fault_of(await _raised(db, statement), db)
    assert fault is not None
    assert (fault.status, fault.detail) == (409, sentence)


async def test_a_value_that_the_driver_refuses_is_a_422(db: DataAccessLayer) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with db.transaction() as tx:
            book = tx.get_table("book")
            await tx.fetch_all(sa.select(book).where(book.c.id == 2**63))
    fault = fault_of(caught.value, db)
    assert fault is not None
    assert fault.status == 422


SEAT = sa.table(
    "seat", sa.column("hall", sa.Integer), sa.column("Row no", sa.Integer), sa.column("label")
)
HALL, ROW = SEAT.c.hall, SEAT.c["Row no"]


@pytest.mark.parametrize(
    ("statement", "column", "is_written"),
    [
        (sa.insert(SEAT).values(hall=2**40, **{"Row no": 1}), "hall", True),
        (sa.insert(SEAT).values(hall=1, **{"Row no": 2**40}).returning(HALL), "Row no", True),
        (sa.update(SEAT).values({ROW: 2**40}).where(HALL == 1), "Row no", True),
        (sa.update(SEAT).values({ROW: 1}).where(HALL == 2**40), "hall", False),
        (sa.select(SEAT).where(HALL == 1, ROW == 2**40), "Row no", False),
        (sa.delete(SEAT).where(ROW == 1, HALL > 2**40), "hall", False),
        (
            insert(SEAT)
            .values(hall=1)
            .on_conflict_do_update(index_elements=["hall"], set_={ROW: 2**40}),
            "Row no",
            True,
        ),
        (sa.select(sa.update(SEAT).values({ROW: 2**40}).returning(HALL).cte()), "Row no", True),
    ],
)
@pytest.mark.parametrize("fast", [True, False])
async def test_the_column_of_a_value_that_the_driver_refuses_is_known(
    db: DataAccessLayer, statement: Any, column: str, is_written: bool, fast: bool
) -> None:
    with path(db, fast=fast), pytest.raises(DBAPIError) as caught:
        async with db.transaction() as tx:
            await tx.run(sa.text('CREATE TABLE seat (hall int UNIQUE, "Row no" int, label text)'))
            await tx.execute(statement)
    fault = fault_of(caught.value, db)
    assert fault is not None
    assert (fault.status, fault.columns, fault.is_written) == (422, (column,), is_written)


async def test_errors_of_the_driver_itself_are_understood_too(db: DataAccessLayer) -> None:
    with pytest.raises(asyncpg.PostgresError) as caught:
        async with db.transaction() as tx:
            driver = await tx.get_dbapi_connection()
            await driver.copy_records_to_table("author", records=[("a",), ("a",)], columns=["name"])
    fault = fault_of(caught.value, db)
    assert fault is not None
    assert (fault.status, fault.columns) == (409, ("name",))


async def test_a_connection_that_was_lost_is_an_outage(committed_database: str) -> None:
    async with DataAccessLayer.connect(committed_database) as dal:
        with pytest.raises(DBAPIError) as caught:
            async with dal.transaction() as tx:
                pid = await tx.fetch_value(sa.text("SELECT pg_backend_pid()"))
                async with dal.transaction() as other:
                    await other.execute(sa.select(sa.func.pg_terminate_backend(pid)))
                await tx.execute(sa.text("SELECT 1"))
        fault = fault_of(caught.value, dal)
        assert fault is not None
        assert (fault.status, fault.is_outage) == (503, True)
        async with dal.transaction() as tx:
            assert await tx.fetch_value(sa.text("SELECT 1")) == 1


@pytest.mark.no_pgbouncer("every transaction begins with BEGIN")
async def test_a_connection_that_was_lost_before_begin_is_an_outage(
    committed_database: str,
) -> None:
    async with DataAccessLayer.connect(committed_database, application_name="lost") as dal:
        dal.fast_path = True
        with pytest.raises(DatabaseUnreachable):
            async with dal.transaction() as tx:
                await tx.fetch_all(sa.select(tx.get_table("author")))  # needs no BEGIN
                await end_connections(committed_database, "lost")
                _ = await tx.connection()
        async with dal.transaction() as tx:
            assert await tx.fetch_value(sa.text("SELECT 1")) == 1


async def test_behind_pgbouncer_a_read_that_takes_too_long_is_a_503(
    committed_database: str,
) -> None:
    limit: dict[str, Any] = {"pgbouncer": True, "statement_timeout": 0.2}
    async with (
        DataAccessLayer.connect(committed_database) as other,
        DataAccessLayer.connect(committed_database, **limit) as dal,
        other.transaction() as locking,
    ):
        await locking.execute(sa.text("LOCK TABLE author IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(DBAPIError) as caught:
            async with dal.transaction() as tx:
                await tx.fetch_all(sa.select(tx.get_table("author")))
    fault = fault_of(caught.value)
    assert fault is not None
    assert (fault.status, fault.is_outage) == (503, False)


@pytest.mark.parametrize(
    "error", [DatabaseUnreachable("refused"), NotReflected("x"), PoolTimeoutError("full")]
)
def test_without_a_connection_the_answer_is_503(error: Exception) -> None:
    fault = fault_of(error)
    assert fault is not None
    assert (fault.status, fault.headers, fault.is_outage) == (503, {"retry-after": "1"}, True)


@pytest.mark.parametrize("error", [ValueError(), OSError("a file"), KeyError("x")])
def test_other_errors_are_not_the_databases(error: Exception) -> None:
    assert fault_of(error) is None
