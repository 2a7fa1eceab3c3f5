"""Upserts tell inserted rows from updated ones on partitioned tables as well."""

import io
from typing import Any

import pytest
from sqlalchemy import Insert, MetaData, Table, select, text
from sqlalchemy.dialects.postgresql import insert

from dalkit import TransactionManager
from dalkit.bulk import Counts, insert_from, load
from dalkit.entities.conflict import CREATED, Target, on_conflict, returning_created

DDL = """
CREATE TABLE parted (code text PRIMARY KEY, note text) PARTITION BY LIST (code);
CREATE TABLE parted_b PARTITION OF parted FOR VALUES IN ('b');
CREATE TABLE parted_rest (note text, code text NOT NULL);
ALTER TABLE parted ATTACH PARTITION parted_rest DEFAULT;
"""


@pytest.fixture
async def parted(transaction: TransactionManager) -> Table:
    """A table with two partitions, of which one has its columns in another order."""
    conn = await transaction.connection()
    for statement in DDL.strip().split("\n"):
        await conn.exec_driver_sql(statement)
    await transaction.execute(text("INSERT INTO parted VALUES ('a', '1'), ('b', '1')"))
    return await conn.run_sync(lambda sync: Table("parted", MetaData(), autoload_with=sync))


def _unless_same(staging: Table, parted: Table) -> Insert:
    new = insert(parted).from_select(["code", "note"], select(staging.c.code, staging.c.note))
    return new.on_conflict_do_update(
        index_elements=["code"],
        set_={"note": new.excluded.note},
        where=parted.c.note.is_distinct_from(new.excluded.note),
    )


@pytest.mark.parametrize(
    ("move", "counts"),
    [
        (lambda it, parted: insert_from(it, parted, ["code"]), Counts(5, 3, 2, 0)),
        (_unless_same, Counts(5, 3, 1, 1)),
    ],
)
async def test_a_load_into_partitions_is_counted(
    transaction: TransactionManager, parted: Table, move: Any, counts: Counts
) -> None:
    source = io.BytesIO(b"code,note\n0,x\na,2\nc,x\nb,1\nd,x\n")
    assert await load(transaction, source, lambda it: move(it, parted), like=parted) == counts


@pytest.mark.parametrize(("code", "created"), [("a", False), ("b", False), ("c", True)])
@pytest.mark.parametrize("update", [None, ["note"]])
async def test_an_upsert_into_partitions_tells_whether_it_inserted(
    transaction: TransactionManager,
    parted: Table,
    code: str,
    created: bool,
    update: Any,
) -> None:
    for expected in (created, False):
        new = insert(parted).values(code=code, note="x")
        upsert = on_conflict(new, ["code", "note"], Target(("code",)), update)
        dialect = transaction.engine.dialect
        row = await transaction.fetch_one(returning_created(upsert, dialect))
        if update is None and not expected:
            assert row is None
        else:
            assert row == {CREATED: expected}
