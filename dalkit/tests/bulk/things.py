"""A table with a column of each kind that a file has to be translated for."""

from collections.abc import AsyncIterator

from sqlalchemy import Insert, MetaData, Table
from sqlalchemy.dialects.postgresql import insert

from dalkit import TransactionManager
from dalkit.bulk import insert_from

COLUMNS = ("code", "note", "price", "tags", "data", "raw", "at", "ok")

DDL = """
CREATE TABLE thing (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text NOT NULL UNIQUE,
    note text,
    price numeric(10, 2) CONSTRAINT positive CHECK (price >= 0),
    tags text[],
    data jsonb,
    raw json,
    at timestamptz,
    ok boolean,
    made timestamptz NOT NULL DEFAULT now()
)
"""


async def create_things(transaction: TransactionManager) -> Table:
    """Create the table in this transaction and reflect it."""
    conn = await transaction.connection()
    await conn.exec_driver_sql(DDL)
    return await conn.run_sync(lambda sync: Table("thing", MetaData(), autoload_with=sync))


def upsert(staging: Table, thing: Table) -> Insert:
    """Insert, or change the thing of the same code."""
    return insert_from(staging, thing, ["code"])


def skip_known(staging: Table, thing: Table) -> Insert:
    """Insert the things whose code is new."""
    names = staging.c.keys()
    new = insert(thing).from_select(names, staging.select())
    return new.on_conflict_do_nothing(index_elements=["code"])


async def in_pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    """The content, `size` bytes at a time."""
    for start in range(0, len(content), size):
        yield content[start : start + size]
