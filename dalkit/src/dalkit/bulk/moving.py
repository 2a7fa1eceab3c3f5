"""Move rows from the staging table to where they belong, and count what became of them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Executable, Insert, func, literal_column, select
from sqlalchemy.engine import Dialect

from ..data.transaction import TransactionManager


async def move_rows(
    transaction: TransactionManager, statements: Sequence[Executable]
) -> tuple[int, int]:
    """Run the statements in order; return how many rows the last one inserted and updated.

    Rows of any other statement that changes some count as updated. Raises ValueError without any.
    """
    if not statements:
        raise ValueError("The move has no statement.")
    for statement in statements[:-1]:
        await transaction.execute(statement)
    last = statements[-1]
    if isinstance(last, Insert):
        return await _insert(transaction, last)
    result = await transaction.execute(last)
    return 0, 0 if result.returns_rows else result.rowcount


async def _insert(transaction: TransactionManager, statement: Insert) -> tuple[int, int]:
    dialect = (await transaction.connection()).dialect
    moved = statement.returning(_is_new(statement, dialect).label("is_new")).cte("moved")
    new = moved.c.is_new
    counts = select(
        func.count().filter(new).label("inserted"), func.count().filter(~new).label("updated")
    )
    row = (await transaction.execute(counts.select_from(moved))).one()
    return row.inserted, row.updated


def _is_new(statement: Insert, dialect: Dialect) -> ColumnElement[bool]:
    """Whether ON CONFLICT DO UPDATE inserted the row: PostgreSQL 18 says so, before it xmax tells.

    xmax is the transaction that locked the row's earlier version; partitioned tables have none.
    """
    version: Any = dialect.server_version_info
    names_old = version >= (18,) and "old" not in statement.table.c
    return literal_column("old IS NULL" if names_old else "xmax = 0", Boolean)
