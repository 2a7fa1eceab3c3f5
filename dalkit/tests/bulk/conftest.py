"""Fixtures for loading and exporting."""

import io
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import Table, select

from dalkit import TransactionManager
from dalkit.bulk import Counts, load

from tests.bulk.things import COLUMNS, create_things, upsert

Load = Callable[..., Awaitable[Counts]]
Stored = Callable[..., Awaitable[list[Any]]]


@pytest.fixture
async def thing(transaction: TransactionManager) -> Table:
    """The table to load into."""
    return await create_things(transaction)


@pytest.fixture
def load_things(transaction: TransactionManager, thing: Table) -> Load:
    """Load these bytes into `thing`."""

    async def run(content: bytes, **options: Any) -> Counts:
        arguments: dict[str, Any] = {"like": thing, "names": COLUMNS} | options
        source = io.BytesIO(content)
        return await load(transaction, source, lambda staging: upsert(staging, thing), **arguments)

    return run


@pytest.fixture
def stored(transaction: TransactionManager, thing: Table) -> Stored:
    """Read columns of the stored things, in the order of their codes."""

    async def run(*names: str) -> list[Any]:
        statement = select(*(thing.c[name] for name in names)).order_by(thing.c.code)
        rows = (await transaction.execute(statement)).all()
        return [row[0] if len(names) == 1 else tuple(row) for row in rows]

    return run
