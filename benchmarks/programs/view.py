"""A view with its cache, beside SQLAlchemy's ORM with a warm session, asyncpg and sqlite3."""

import asyncio
import gc
import sqlite3
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from dalkit.view import Many, Mode, One, View, ViewObject, many, one
from sqlalchemy import ForeignKey, make_url, select
from sqlalchemy.ext.asyncio import AsyncAttrs, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload

#: Seconds that the slow origin takes for each answer.
SLOW = 0.02
Times = dict[str, list[float]]


class Author(ViewObject, table="author"):
    """An author of a view."""

    id: int
    name: str
    books: Many["Book"] = many("book.author_id")


class Book(ViewObject, table="book"):
    """A book of a view."""

    id: int
    title: str
    author_id: int
    year: int
    author: One[Author] = one("author_id")


class Library(View):
    """Both."""

    Author = Author
    Book = Book


class Base(AsyncAttrs, DeclarativeBase):
    """The ORM's."""


class OrmAuthor(Base):
    """An author of the ORM."""

    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list["OrmBook"]] = relationship(back_populates="author")


class OrmBook(Base):
    """A book of the ORM."""

    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    year: Mapped[int]
    author: Mapped[OrmAuthor] = relationship(back_populates="books")


def main(url: str, folder: str, rounds: str, authors: str) -> Times:
    """Return the seconds of each thing by round; of memory the bytes of an object."""
    return asyncio.run(Measuring(url, Path(folder), int(authors)).run(int(rounds)))


class Measuring:
    """One run, in a process of its own."""

    def __init__(self, url: str, folder: Path, authors: int) -> None:
        self._url = url
        self._authors = authors
        self._cache = folder / "view.cache"
        self._times: Times = {}

    async def run(self, rounds: int) -> Times:
        """Measure everything in turns; the first turn counts for nothing."""
        async with Library(self._url, cache=self._cache) as view:
            await view.load(Author, include=(Author.books,))
        for turn in range(rounds + 1):
            for measure in (self.known, self.warm_rows, self.preload, self.memory, self.slow):
                await measure()
            if not turn:
                self._times.clear()
        return self._times

    def _note(self, name: str, value: float) -> None:
        self._times.setdefault(name, []).append(value)

    async def _each(self, name: str, number: int, what: Callable[[int], Awaitable[Any]]) -> None:
        """The CPU seconds of one of so many: other processes do not count."""
        gc.collect()
        started = time.process_time()
        for i in range(1, number + 1):
            await what(i)
        self._note(name, (time.process_time() - started) / number)

    async def known(self) -> None:
        """Objects and relations that were loaded before."""
        number = min(2000, self._authors)
        async with Library(self._url) as view:
            authors = await view.load(Author, include=(Author.books,))
            book = (await authors[0].books)[0]
            await self._each("known object", number, view.Author)
            await self._each("known set", number, lambda i: wait(authors[i - 1].books))
            await self._each("known one", number, lambda _: wait(book.author))
        async with self._session() as session:
            options = selectinload(OrmAuthor.books)
            found = list((await session.scalars(select(OrmAuthor).options(options))).all())
            await self._each("known object, ORM", number, lambda i: session.get(OrmAuthor, i))
            await self._each("known set, ORM", number, lambda i: found[i - 1].awaitable_attrs.books)
            other = found[0].books[0]
            await self._each("known one, ORM", number, lambda _: other.awaitable_attrs.author)

    async def warm_rows(self) -> None:
        """Rows of a warm file, one by one: the same query in a loop on sqlite3."""
        number = min(20_000, 10 * self._authors)
        connection = sqlite3.connect(self._cache, isolation_level=None)
        sql = "SELECT id FROM shapes WHERE name = 'book'"
        ((shape,),) = connection.execute(sql).fetchall()
        sql = "SELECT at, row FROM rows WHERE shape = ?1 AND key = ?2"
        gc.collect()
        started = time.process_time()
        for i in range(1, number + 1):
            connection.execute(sql, (shape, i)).fetchone()
        self._note("row of a file, sqlite3", (time.process_time() - started) / number)
        connection.close()
        async with Library(None, cache=self._cache, mode=Mode.OFFLINE) as view:
            await self._each("row of a file", number, view.Book)

    async def preload(self) -> None:
        """All authors with all books: from the origin, from the file, by asyncpg, by the ORM."""
        connection = await asyncpg.connect(self._url)
        gc.collect()
        started = time.perf_counter()
        authors = await connection.fetch("SELECT id, name FROM author ORDER BY id")
        sql = "SELECT id, title, author_id, year FROM book WHERE author_id = ANY($1)"
        books = await connection.fetch(sql, [row[0] for row in authors])
        self._note("preload, asyncpg", time.perf_counter() - started)
        await connection.close()
        del authors, books
        fresh = self._cache.with_name("fresh.cache")
        for path in fresh.parent.glob("fresh.cache*"):
            path.unlink()
        async with Library(self._url, cache=fresh) as view:
            await view.find(Author, 0)  # it is connected, as the others are
            await self._preloaded("preload", view)
        async with Library(self._url) as view:
            await view.find(Author, 0)
            await self._preloaded("preload without cache", view)
        async with Library(None, cache=self._cache, mode=Mode.OFFLINE) as view:
            await self._preloaded("preload of a file", view)
        async with self._session() as session:
            await session.connection()
            gc.collect()
            started = time.perf_counter()
            options = selectinload(OrmAuthor.books)
            (await session.scalars(select(OrmAuthor).options(options))).all()
            self._note("preload, ORM", time.perf_counter() - started)

    async def _preloaded(self, name: str, view: Library) -> None:
        gc.collect()
        started = time.perf_counter()
        await view.load(Author, include=(Author.books,))
        self._note(name, time.perf_counter() - started)

    async def memory(self) -> None:
        """What an object costs with all that belongs to it, its values and sets included."""
        objects = 11 * self._authors
        async with Library(self._url) as view:
            tracemalloc.start()
            _ = await view.load(Author, include=(Author.books,))
            gc.collect()
            self._note("memory", tracemalloc.get_traced_memory()[0] / objects)
            tracemalloc.stop()
        async with self._session() as session:
            tracemalloc.start()
            options = selectinload(OrmAuthor.books)
            _ = (await session.scalars(select(OrmAuthor).options(options))).all()
            gc.collect()
            self._note("memory, ORM", tracemalloc.get_traced_memory()[0] / objects)
            tracemalloc.stop()

    async def slow(self) -> None:
        """A thousand books and the author of each, from an origin with slow answers."""
        async with delayed(self._url) as (url, sent), Library(url) as view:
            number = view.table(Book).c.id
            # The connection, and the statements prepared, as in a program that has begun.
            (book,) = await view.load(Book, number.between(1, 1))
            await book.author
            sent.clear()
            started = time.perf_counter()
            books = await view.load(Book, number.between(21, 1020))
            await asyncio.gather(*[book.author for book in books])
            self._note("slow origin", time.perf_counter() - started)
            self._note("round trips", len(sent))

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[AsyncSession]:
        url = make_url(self._url).set(drivername="postgresql+asyncpg")
        engine = create_async_engine(url)
        async with AsyncSession(engine, expire_on_commit=False) as session:
            yield session
        await engine.dispose()


async def wait(of: Awaitable[Any]) -> Any:
    """Await it, as the ORM's attributes are awaited."""
    return await of


@asynccontextmanager
async def delayed(url: str) -> AsyncIterator[tuple[str, list[int]]]:
    """The URL of a way to this server on which what is sent arrives later, and what was sent."""
    sent: list[int] = []
    there = make_url(url)
    tasks = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        back_reader, out = await asyncio.open_connection(there.host, there.port)
        back = asyncio.ensure_future(forward(back_reader, writer, 0, []))
        await forward(reader, out, SLOW, sent)
        await back

    server = await asyncio.start_server(connected, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    through = there.set(host="127.0.0.1", port=port).update_query_dict({"sslmode": "disable"})
    yield through.render_as_string(hide_password=False), sent
    server.close()
    await asyncio.wait(tasks)


async def forward(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, by: float, sent: list[int]
) -> None:
    """Forward until the end, later by some seconds, and note how many bytes came at once."""
    while data := await reader.read(65536):
        sent.append(len(data))
        await asyncio.sleep(by)
        writer.write(data)
    writer.close()
