"""Declared models with a table of every kind, and the routes of a service that uses them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, BackgroundTasks, Depends, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ForeignKey, UniqueConstraint, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column, relationship, selectinload, validates

from dalkit import ReadTransaction, SerializableTransaction, Transaction
from dalkit.orm import Base, ReadSession, Session, Timestamps


class Writer(Timestamps, Base):
    """A unique name, defaults of the database and of Python, and books."""

    __tablename__ = "orm_writer"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    country: Mapped[str] = mapped_column(server_default="PL")
    rank: Mapped[int] = mapped_column(default=7)
    born: Mapped[int | None]
    novels: Mapped[list["Novel"]] = relationship(back_populates="writer")

    @validates("name")
    def trim(self, _: str, value: str) -> str:
        """Take blanks off both ends."""
        return value.strip()


class Novel(Base):
    """A composite unique constraint and a foreign key that is checked at COMMIT."""

    __tablename__ = "orm_novel"
    __table_args__ = (UniqueConstraint("title", "year"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    year: Mapped[int]
    writer_id: Mapped[int | None] = mapped_column(
        ForeignKey("orm_writer.id", deferrable=True, initially="DEFERRED")
    )
    writer: Mapped[Writer | None] = relationship(back_populates="novels")


class Seat(Base):
    """A composite primary key."""

    __tablename__ = "orm_seat"

    row: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    taken_by: Mapped[str | None]


class Animal(Timestamps, Base):
    """A table for each class."""

    __tablename__ = "orm_animal"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str] = mapped_column(unique=True)


class Dog(Animal):
    """Its row is in two tables."""

    __tablename__ = "orm_dog"
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("orm_animal.id"), primary_key=True)
    tricks: Mapped[int] = mapped_column(default=0)


class Cat(Animal):
    """Its row is in the table of Animal."""

    __mapper_args__ = {"polymorphic_identity": "cat"}  # noqa: RUF012


MODELS = (Writer, Novel, Seat, Animal, Dog)


class WriterIn(BaseModel):
    """What a client sends."""

    name: str


class NovelOut(BaseModel):
    """What a client gets of a novel."""

    model_config = ConfigDict(from_attributes=True)

    title: str


class WriterOut(BaseModel):
    """What a client gets of a writer."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    country: str
    created_at: datetime
    updated_at: datetime


class WriterWithNovels(WriterOut):
    """The same, and the novels."""

    novels: list[NovelOut]


routes = APIRouter(prefix="/orm")


@routes.get("/idle")
async def do_nothing(session: Session, request: Request) -> int:
    """Never use the session; tell how many connections are taken."""
    taken: int = request.state.dal.engine.sync_engine.pool.checkedout()
    return taken


@routes.post("/writers", status_code=201)
async def create_writer(new: WriterIn, session: Session) -> WriterOut:
    """Flush, so that the answer has what the database has added."""
    writer = Writer(name=new.name)
    session.add(writer)
    await session.flush()
    return WriterOut.model_validate(writer)


@routes.post("/pending", status_code=201)
async def leave_pending(new: WriterIn, session: Session) -> None:
    """Add, and leave it to the end of the request."""
    session.add(Writer(name=new.name))


@routes.post("/deferred", status_code=201)
async def violate_deferred(session: Session) -> None:
    """Break a constraint that is checked at COMMIT."""
    session.add(Novel(title="Orphan", year=1, writer_id=404))


@routes.post("/both", status_code=201)
async def mix(new: WriterIn, tx: Transaction, session: Session, status: int) -> JSONResponse:
    """Write by both, and read each by the other."""
    table = tx.get_table("orm_writer")
    session.add(Writer(name=new.name))
    count = select(func.count()).select_from(table).where(table.c.name == new.name)
    seen = await tx.fetch_value(count)
    await tx.execute(sa.insert(table).values(name=f"{new.name} Jr.", rank=1))
    junior = await Writer.get_one(session, name=f"{new.name} Jr.")
    return JSONResponse([seen, junior.rank, session is tx.session], status)


@routes.post("/swallowed", status_code=201)
async def swallow(new: WriterIn, session: Session) -> None:
    """Write twice and swallow the error of the second time."""
    session.add(Writer(name=new.name))
    await session.flush()
    session.add(Writer(name=new.name))
    try:
        await session.flush()
    except sa.exc.IntegrityError:
        pass


@routes.post("/spoilt", status_code=201)
async def spoil(new: WriterIn, session: Session) -> None:
    """Write, and swallow an error that PostgreSQL knows nothing of."""
    session.add(Writer(name=new.name))
    await session.flush()
    session.add(Writer(name=new.name + " II", rank="many"))
    try:
        await session.flush()
    except sa.exc.DBAPIError:
        pass


@routes.post("/nested", status_code=201)
async def nest(new: WriterIn, session: Session) -> int:
    """Undo a part."""
    session.add(Writer(name=new.name))
    try:
        async with session.begin_nested():
            session.add(Writer(name=new.name))
    except sa.exc.IntegrityError:
        pass
    return len((await session.scalars(select(Writer))).all())


@routes.post("/ended")
async def end_by_hand(session: Session, how: str) -> None:
    """Try to decide the transaction in the handler."""
    if how.startswith("sync_"):
        await session.run_sync(lambda sync: getattr(sync, how.removeprefix("sync_"))())
    else:
        ended = getattr(session, how)()
        await ended.__aenter__() if how == "begin" else await ended


@routes.post("/read-only")
async def write_while_reading(new: WriterIn, session: ReadSession) -> None:
    """Write through a session that was asked for reading."""
    session.add(Writer(name=new.name))


async def current(session: ReadSession, name: str = "Lem") -> Writer | None:
    """What a dependency reads for the handler."""
    return (await session.scalars(select(Writer).where(Writer.name == name))).one_or_none()


@routes.post("/after-reading", status_code=201)
async def write_after_reading(
    session: Session, found: Annotated[Writer | None, Depends(current)]
) -> bool:
    """Write what a dependency has looked for, which asks for a session that only reads."""
    if found is None:
        session.add(Writer(name="Lem"))
    return found is None or found in session


@routes.get("/read/{name}")
async def read(name: str, tx: ReadTransaction, session: ReadSession) -> WriterWithNovels:
    """Read a graph."""
    assert tx.session is session
    found = select(Writer).where(Writer.name == name).options(selectinload(Writer.novels))
    return WriterWithNovels.model_validate((await session.scalars(found)).one())


@routes.get("/lazy/{name}")
async def read_lazily(name: str, session: ReadSession) -> WriterWithNovels:
    """Read a row whose novels are not loaded."""
    return await Writer.get_one(session, name=name)  # type: ignore[return-value]


@routes.get("/names")
async def stream_names(session: ReadSession) -> StreamingResponse:
    """Stream from a server-side cursor."""
    names = await session.stream_scalars(
        select(Writer.name).order_by(Writer.id), execution_options={"yield_per": 2}
    )

    async def lines() -> AsyncIterator[str]:
        async for name in names:
            yield f"{name}\n"

    return StreamingResponse(lines())


@routes.post("/increment/{name}")
async def increment(
    name: str, tx: SerializableTransaction, session: Session, request: Request
) -> int:
    """Read, think and write: what only SERIALIZABLE makes safe."""
    request.app.state.sessions.append(session)
    writer = await Writer.get_one(session, name=name)
    await asyncio.sleep(0)
    writer.rank += 1
    return writer.rank


@routes.post("/slow/{seconds}")
async def sleep(seconds: float, session: Session) -> None:
    """Take time in the database."""
    await session.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})


@routes.post("/background", status_code=201)
async def follow_up(
    new: WriterIn, session: Session, tasks: BackgroundTasks, request: Request
) -> None:
    """Leave a task that looks at the object, and then uses the session."""
    writer = Writer(name=new.name)
    session.add(writer)
    tasks.add_task(look_at, writer, session, request.app.state.seen)


async def look_at(writer: Writer, session: AsyncSession, seen: list[Any]) -> None:
    """Tell what is left of an object and its session after COMMIT."""
    seen.append((writer.name, writer.id))
    try:
        await session.execute(text("SELECT 1"))
    except RuntimeError as error:
        seen.append(str(error))
