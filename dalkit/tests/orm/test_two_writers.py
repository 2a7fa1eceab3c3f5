"""Two concurrent writers and a reader that streams, each of which tells how far it is."""

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console
from rich.progress import Progress, TaskID
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.orm import Mapped, mapped_column, relationship, selectinload

from dalkit.orm import AsyncDatabaseManager, Base, Timestamps

ROWS, BATCH = 300, 50


class Measurement(Timestamps, Base):
    """What a writer writes."""

    __tablename__ = "orm_measurement"

    id: Mapped[int] = mapped_column(primary_key=True)
    writer: Mapped[str]
    value: Mapped[int]
    notes: Mapped[list["Note"]] = relationship(back_populates="measurement")


class Note(Base):
    """What is said of a measurement."""

    __tablename__ = "orm_note"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    measurement_id: Mapped[int] = mapped_column(ForeignKey(Measurement.id))
    measurement: Mapped[Measurement] = relationship(back_populates="notes")


@pytest.fixture
async def manager(committed_database: str) -> AsyncIterator[AsyncDatabaseManager]:
    """A database with these tables."""
    manager = AsyncDatabaseManager(committed_database, pool_size=3)
    tables = [Measurement.__table__, Note.__table__]
    async with manager.engine.begin() as conn:
        await conn.run_sync(Base.metadata.create_all, tables=tables)  # type: ignore[arg-type]
    yield manager
    async with manager.engine.begin() as conn:
        await conn.run_sync(Base.metadata.drop_all, tables=tables)  # type: ignore[arg-type]
    await manager.dispose()


async def write(manager: AsyncDatabaseManager, name: str, bar: Progress, task: TaskID) -> None:
    """Write ROWS rows, and commit each BATCH of them."""
    async with manager.Session() as session:
        for first in range(0, ROWS, BATCH):
            for value in range(first, first + BATCH):
                notes = [Note(text=f"{name} {value}")]
                session.add(Measurement(writer=name, value=value, notes=notes))
            await session.commit()
            bar.advance(task, BATCH)


async def test_two_writers_and_a_stream_with_progress(manager: AsyncDatabaseManager) -> None:
    started = datetime.now(UTC)
    with Progress(console=Console(file=io.StringIO())) as bar:
        tasks = {name: bar.add_task(name, total=ROWS) for name in ("ada", "bob")}
        await asyncio.gather(*(write(manager, name, bar, task) for name, task in tasks.items()))
        reading = bar.add_task("read", total=2 * ROWS)
        statement = (
            select(Measurement)
            .options(selectinload(Measurement.notes))
            .order_by(Measurement.id)
            .execution_options(yield_per=BATCH)
        )
        seen: dict[str, list[int]] = {"ada": [], "bob": []}
        async with manager.Session() as session:
            async for one in await session.stream_scalars(statement):
                seen[one.writer].append(one.value)
                assert [note.text for note in one.notes] == [f"{one.writer} {one.value}"]
                assert one.created_at.utcoffset() == timedelta(0)
                assert one.created_at == one.updated_at >= started - timedelta(seconds=5)
                bar.advance(reading)
    assert bar.finished
    assert seen == {"ada": list(range(ROWS)), "bob": list(range(ROWS))}


async def test_updated_at_is_the_time_of_the_last_transaction(
    manager: AsyncDatabaseManager,
) -> None:
    async with manager.Session() as session:
        one = Measurement(writer="ada", value=1)
        session.add(one)
        await session.commit()
        before = one.updated_at
        one.value = 2
        await session.flush()
        assert one.updated_at == await session.scalar(select(func.now()))
        assert one.updated_at > before == one.created_at
