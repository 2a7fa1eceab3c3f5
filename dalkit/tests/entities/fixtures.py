"""A schema of its own with tables of every kind, reflected once; tests roll back."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from dalkit import DataAccessLayer, TransactionManager
from dalkit.data.engine import create_engine

STATEMENTS = Path(__file__).with_name("lab.sql").read_text().split(";\n")


@pytest.fixture(scope="session")
async def lab(committed_database: str) -> AsyncIterator[DataAccessLayer]:
    """The tables of lab.sql."""
    engine = create_engine(committed_database, pool_size=20)
    dal = DataAccessLayer()
    async with engine.begin() as conn:
        for statement in filter(str.strip, STATEMENTS):
            await conn.execute(text(statement))
    await dal.reflect(engine, schemas=["lab"])
    yield dal
    async with engine.begin() as conn:
        await conn.execute(text("DROP SCHEMA lab CASCADE"))
    await engine.dispose()


@pytest.fixture
async def tx(lab: DataAccessLayer) -> AsyncIterator[TransactionManager]:
    """A transaction that is rolled back."""
    async with lab.transaction(with_commit=False) as transaction:
        yield transaction
