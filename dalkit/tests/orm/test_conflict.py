"""get_or_create and update_or_create, one at a time and 200 at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Index, UniqueConstraint, event, inspect, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, MultipleResultsFound, NoResultFound
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dalkit import DataAccessLayer
from dalkit.orm.conflict import _target

from tests.orm.models import Cat, Dog, Novel, Seat, Writer
from tests.soak import rounds

#: Concurrent calls; the pool of `shelf` has 20 connections.
CALLS = 200


@pytest.fixture
async def session(shelf: DataAccessLayer) -> AsyncIterator[AsyncSession]:
    """A session that is rolled back."""
    async with shelf.session(with_commit=False) as it:
        yield it


async def test_a_model_is_found_by_its_key_and_by_its_values(session: AsyncSession) -> None:
    lem = Writer(name="Lem")
    session.add_all([lem, Seat(row=1, number=2), Writer(name="Dick")])
    await session.flush()
    assert await Writer.get_by_pk(session, lem.id) is lem
    assert await Writer.get_by_pk(session, -1) is None
    assert (await Seat.get_by_pk(session, (1, 2))) is not None
    assert await Writer.get_one(session, name="Lem", born=None) is lem
    with pytest.raises(NoResultFound):
        await Writer.get_one(session, name="Nobody")
    with pytest.raises(MultipleResultsFound):
        await Writer.get_one(session, country="PL")


async def test_the_second_call_gets_what_the_first_has_created(session: AsyncSession) -> None:
    lem, created = await Writer.get_or_create(session, name="Lem", defaults={"born": lambda: 1921})
    assert created
    assert lem in session
    assert (lem.born, lem.rank, lem.country) == (1921, 7, "PL")
    assert lem.created_at == lem.updated_at
    assert await Writer.get_or_create(session, name="Lem", born=1921) == (lem, False)


async def test_values_pass_the_model_before_they_are_written(session: AsyncSession) -> None:
    dick, _ = await Writer.get_or_create(session, name=" Dick ")
    assert dick.name == "Dick"


async def test_a_row_is_updated_or_created(session: AsyncSession) -> None:
    made, created = await Writer.update_or_create(
        session, name="Lem", defaults={"born": 1}, create_defaults={"born": lambda: 1921}
    )
    assert (created, made.born) == (True, 1921)
    changed, created = await Writer.update_or_create(
        session, name="Lem", defaults={"born": lambda: 1922}, create_defaults={"born": 1}
    )
    assert (created, changed is made, changed.born) == (False, True, 1922)
    assert not session.dirty
    row = (await session.execute(text("SELECT born FROM orm_writer"))).scalar_one()
    assert row == 1922


async def test_an_update_reads_what_the_database_computes(clean_shelf: DataAccessLayer) -> None:
    async with clean_shelf.session() as session:
        made, _ = await Writer.update_or_create(session, name="Lem")
    async with clean_shelf.session() as session:
        changed, _ = await Writer.update_or_create(session, name="Lem", defaults={"rank": 1})
        assert changed.updated_at > changed.created_at == made.created_at


async def test_an_update_starts_from_the_row_as_it_is_now(clean_shelf: DataAccessLayer) -> None:
    async with clean_shelf.session() as session:
        await Writer.get_or_create(session, name="Lem", born=1)
        await session.commit()
        stale = await Writer.get_one(session, name="Lem")
        async with clean_shelf.session() as other:
            await Writer.update_or_create(other, name="Lem", defaults={"born": 1921})
        assert stale.born == 1
        found, _ = await Writer.update_or_create(session, name="Lem", defaults={"rank": 2})
        assert (found is stale, found.born, found.rank) == (True, 1921, 2)


@pytest.mark.parametrize(
    ("model", "key"),
    [
        (Novel, {"title": "Solaris", "year": 1961}),
        (Seat, {"row": 1, "number": 2}),
        (Cat, {"name": "Tom"}),
        (Dog, {"name": "Rex"}),
    ],
)
async def test_keys_and_tables_of_every_kind(
    session: AsyncSession, model: Any, key: dict[str, Any]
) -> None:
    made, created = await model.get_or_create(session, **key)
    assert (created, inspect(made).persistent) == (True, True)
    session.expunge_all()
    again, created = await model.get_or_create(session, **key)
    assert (created, inspect(again).identity) == (False, inspect(made).identity)
    again, created = await model.update_or_create(session, **key)
    assert not created


async def test_a_key_is_inserted_unless_it_is_there(session: AsyncSession) -> None:
    """In one statement, without a savepoint."""
    sent: list[str] = []

    def hear(*event: Any) -> None:
        sent.append(event[2])

    connection = (await session.connection()).sync_connection
    event.listen(connection, "before_cursor_execute", hear)
    await Writer.get_or_create(session, name="Lem")
    await Novel.get_or_create(session, year=1961, title="Solaris")
    event.remove(connection, "before_cursor_execute", hear)
    assert [sql.partition(" RETURNING")[0].partition("ON CONFLICT")[2] for sql in sent] == [
        "",
        " (name) DO NOTHING",
        "",
        " (title, year) DO NOTHING",
    ]


def test_what_is_a_conflict_target() -> None:
    """Whole unique keys that are checked at once, of plain columns."""

    class Keys(DeclarativeBase):
        pass

    class Model(Keys):
        __tablename__ = "model"
        __table_args__ = (
            UniqueConstraint("a", "other_name"),
            UniqueConstraint("late", deferrable=True),
            Index("whole", "c", unique=True),
            Index("partial", "d", unique=True, postgresql_where=text("d > 0")),
            Index("expression", text("lower(e)"), unique=True),
            Index("plain", "f"),
        )
        id: Mapped[int] = mapped_column(primary_key=True)
        a: Mapped[int]
        b: Mapped[int] = mapped_column("other_name")
        c: Mapped[int]
        d: Mapped[int]
        e: Mapped[str]
        f: Mapped[int]
        late: Mapped[int]

    def target(*names: str) -> list[str] | None:
        found = _target(inspect(Model), dict.fromkeys(names))
        return None if found is None else [column.name for column in found]

    assert target("id") == ["id"]
    assert target("b", "a") == ["a", "other_name"]
    assert target("c") == ["c"]
    for names in (("a",), ("late",), ("d",), ("e",), ("f",), ("id", "c"), ("nothing",)):
        assert target(*names) is None


async def test_a_model_with_arguments_of_its_own_reads_back_as_well(session: AsyncSession) -> None:
    dog, _ = await Dog.get_or_create(session, name="Rex")
    await session.commit()
    dog.name = "Rex II"
    await session.flush()
    assert dog.updated_at > dog.created_at
    await session.delete(dog)
    await session.commit()


async def test_a_relationship_is_a_value_like_others(session: AsyncSession) -> None:
    lem = Writer(name="Lem")
    session.add(lem)
    novel, created = await Novel.get_or_create(session, title="Solaris", year=1961, writer=lem)
    assert (created, novel.writer_id) == (True, lem.id)
    assert await Novel.get_or_create(session, writer=lem) == (novel, False)


async def test_listeners_of_a_model_hear_of_what_is_created(session: AsyncSession) -> None:
    heard: list[str] = []

    def hear(mapper: object, connection: object, target: Seat) -> None:
        heard.append(f"{target.row}/{target.number}")

    event.listen(Seat, "before_insert", hear)
    try:
        assert (await Seat.get_or_create(session, row=1, number=2))[1]
    finally:
        event.remove(Seat, "before_insert", hear)
    assert heard == ["1/2"]


async def test_another_row_in_the_way_is_an_error_and_the_session_goes_on(
    session: AsyncSession,
) -> None:
    await Writer.get_or_create(session, name="Lem")
    with pytest.raises(IntegrityError):
        await Writer.get_or_create(session, name="Lem", born=1921)
    assert (await session.scalars(select(Writer.name))).all() == ["Lem"]


async def get(session: AsyncSession, number: int) -> tuple[Any, bool]:
    """By a unique constraint."""
    return await Writer.get_or_create(session, name="Lem", defaults={"born": number})


async def update(session: AsyncSession, number: int) -> tuple[Any, bool]:
    """By a unique constraint."""
    made, created = await Writer.update_or_create(session, name="Lem", defaults={"born": number})
    assert made.born == number
    return made, created


async def composite(session: AsyncSession, number: int) -> tuple[Any, bool]:
    """By a composite primary key."""
    return await Seat.update_or_create(session, row=1, number=1, defaults={"taken_by": str(number)})


async def in_savepoint(session: AsyncSession, number: int) -> tuple[Any, bool]:
    """A model that takes more than one INSERT."""
    return await Dog.update_or_create(session, name="Rex", defaults={"tricks": number})


@pytest.mark.parametrize("call", [get, update, composite, in_savepoint])
async def test_exactly_one_of_200_concurrent_calls_creates(
    clean_shelf: DataAccessLayer, call: Any
) -> None:
    pool: Any = clean_shelf.engine.pool
    connections = asyncio.Semaphore(pool.size())

    async def one(number: int) -> tuple[Any, bool]:
        async with connections, clean_shelf.session() as session:
            made, created = await call(session, number)
            assert made in session
            assert inspect(made).persistent
            assert await session.scalar(select(1)) == 1
            return inspect(made).identity, created

    answers = await asyncio.gather(*(one(number) for number in range(CALLS)))
    assert Counter(created for _, created in answers) == {True: 1, False: CALLS - 1}
    assert len({key for key, _ in answers}) == 1


@pytest.mark.soak
async def test_rows_that_come_and_go_are_created_again(clean_shelf: DataAccessLayer) -> None:
    async def make(number: int) -> None:
        async with clean_shelf.session() as session:
            made, _ = await Writer.update_or_create(session, name="Lem", defaults={"born": number})
            assert made.born == number

    async def delete() -> None:
        async with clean_shelf.session() as session:
            await session.execute(text("DELETE FROM orm_writer"))

    for _ in range(rounds(2, 100)):
        await asyncio.gather(*(make(n) if n % 3 else delete() for n in range(60)))


async def test_at_repeatable_read_a_row_of_the_future_is_a_serialization_failure(
    clean_shelf: DataAccessLayer,
) -> None:
    with pytest.raises(DBAPIError) as raised:
        async with clean_shelf.session(isolation="REPEATABLE READ") as session:
            await session.execute(select(Writer))
            async with clean_shelf.session() as other:
                await Writer.get_or_create(other, name="Lem")
            await Writer.get_or_create(session, name="Lem")
    assert getattr(raised.value.orig, "sqlstate", None) == "40001"
