"""What the cache holds is what the origin gave; what cannot be used as a cache is one sentence."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from dalkit import DataAccessLayer
from dalkit.data.engine import create_engine
from dalkit.view import (
    CacheError,
    Missing,
    Mode,
    NeverLoaded,
    View,
    ViewMismatch,
    ViewObject,
    sqlite,
)
from dalkit.view.cache import Cache, driver_of
from dalkit.view.cache_sql import Change, Steps
from dalkit.view.codec import dumps, encode_rows, loads
from dalkit.view.postgres import PostgresCache
from dalkit.view.sqlite import APPLICATION_ID, SqliteFile

from tests.fast.both_paths import shape
from tests.soak import rounds
from tests.view.fixtures import Statements
from tests.view.library import Author, Book, Invoice, Library


def once(value: Any) -> Any:
    """PostgreSQL has no second hour of that name."""
    return value.replace(fold=0)


PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.decimals()
    | st.uuids()
    | st.dates()
    | st.times(timezones=st.sampled_from([UTC, timezone(timedelta(hours=14))]) | st.none()).map(
        once
    )
    | st.datetimes(timezones=st.just(UTC) | st.none()).map(once)
    | st.timedeltas()
)
VALUES = st.recursive(
    PLAIN, lambda one: st.lists(one) | st.dictionaries(st.text(max_size=3), one), max_leaves=6
)


@given(st.lists(st.tuples(PLAIN, VALUES, VALUES), min_size=1, max_size=4))
@settings(max_examples=rounds(60, 2000), deadline=None)
@pytest.mark.soak
def test_a_value_comes_out_as_it_went_in(values: list[tuple[Any, ...]]) -> None:
    found = [loads(dumps(row)) for row in encode_rows(values)]
    assert [list(map(shape, row)) for row in found] == [list(map(shape, row)) for row in values]


def entity_of(dal: DataAccessLayer, table: str) -> type[View]:
    """A view with a class that has a field for every column of a table."""
    fields = {column.name: Any for column in dal.get_table(table).c}
    body = {"__annotations__": fields, "__module__": __name__}
    view_class: Any = type(ViewObject)
    cls: Any = view_class("Everything", (ViewObject,), body, table=table)
    return type("Types", (View,), {"Everything": cls})


EVERY = Path(__file__).with_name("every_type.sql").read_text("utf-8")


@pytest.mark.parametrize("table", ["every_type", "odd_type"])
async def test_every_type_comes_out_as_the_origin_gave_it(
    paths_url: str, lasting_paths: DataAccessLayer, file: str, table: str
) -> None:
    conn = await asyncpg.connect(paths_url)
    try:
        await conn.execute(
            EVERY if table == "every_type" else "INSERT INTO odd_type (d24) VALUES (NULL)"
        )
        types = entity_of(lasting_paths, table)
        entity: Any = types.entities["Everything"]
        async with types(lasting_paths, cache=file) as view:
            here = [whole(one) for one in await view.load(entity)]
        async with types(None, cache=file, mode=Mode.OFFLINE) as view:
            there = [whole(one) for one in await view.load(entity)]
        async with lasting_paths.transaction() as tx:
            table_ = lasting_paths.get_table(table)
            plain = await tx.fetch_all(select(table_).order_by(table_.c.id))
    finally:
        await conn.execute(f"TRUNCATE {table}")
        await conn.close()
    assert len(here) == (4 if table == "every_type" else 1)
    assert there == here
    as_dal = [{name: shape(value) for name, value in row.items()} for row in plain]
    assert [{**row, **COMPOSITE} for row in here] == [{**row, **COMPOSITE} for row in as_dal]


#: A Record of asyncpg can be made by nobody else: a view gives a tuple.
COMPOSITE = {"point3": None}


def whole(one: Any) -> dict[str, Any]:
    """The values of an object with their types."""
    return {name: shape(getattr(one, name)) for name in type(one).fields}


class NewAuthor(ViewObject, table="author"):
    """The class of a later version of the program."""

    id: int
    name: str
    email: str | None


class NewLibrary(View):
    Author = NewAuthor


class OldAuthor(ViewObject, table="author"):
    """The class of the version before."""

    id: int
    name: str
    born: date | None


class OldLibrary(View):
    Author = OldAuthor


@pytest.fixture
async def changed(db_of_library: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    """A connection to change the table `author` by; it is put right afterwards."""
    yield db_of_library
    await db_of_library.execute(
        "ALTER TABLE author ADD IF NOT EXISTS born date, DROP IF EXISTS email"
    )


async def test_a_table_that_has_changed_is_loaded_anew(
    origin: AsyncEngine, statements: Statements, changed: asyncpg.Connection, cache: Any
) -> None:
    async with OldLibrary(origin, cache=cache) as old:
        await old.Author(1)
    with pytest.raises(ViewMismatch, match=r"NewAuthor.email: no column 'email' in author"):
        async with NewLibrary(None, cache=cache, mode=Mode.OFFLINE):
            pass
    await changed.execute("ALTER TABLE author ADD email text, DROP born")
    async with NewLibrary(origin, cache=cache, mode=Mode.ONLINE) as new:
        new.mode = Mode.PREFER_CACHE
        await statements.sent()
        await new.Author(1)
        assert await statements.count() == 1
    with pytest.raises(ViewMismatch, match=r"OldAuthor.born: no column 'born' in author"):
        async with OldLibrary(None, cache=cache, mode=Mode.OFFLINE):
            pass
    async with NewLibrary(None, cache=cache, mode=Mode.OFFLINE) as new:
        assert (await new.Author(1)).email is None


async def test_a_change_is_noticed_when_the_origin_is_first_asked(
    origin: AsyncEngine, changed: asyncpg.Connection, file: str
) -> None:
    async with OldLibrary(origin, cache=file) as old:
        await old.Author(1)
    await changed.execute("ALTER TABLE author DROP born")
    async with OldLibrary(origin, cache=file, mode=Mode.PREFER_CACHE) as old:
        assert (await old.Author(1)).born is not None
        with pytest.raises(ViewMismatch, match="no column 'born'"):
            await old.Author(2)


class ShortAuthor(ViewObject, table="author"):
    """A class that does not have the column that changes."""

    id: int
    name: str


class ShortLibrary(View):
    Author = ShortAuthor


async def test_a_change_of_any_column_counts(
    origin: AsyncEngine, statements: Statements, changed: asyncpg.Connection, file: str
) -> None:
    async with ShortLibrary(origin, cache=file) as view:
        await view.Author(1)
    await changed.execute("ALTER TABLE author ALTER born TYPE timestamp")
    try:
        async with ShortLibrary(origin, cache=file) as view:
            view.mode = Mode.PREFER_CACHE
            await statements.sent()
            await view.Author(1)
            assert await statements.count() == 1
    finally:
        await changed.execute("ALTER TABLE author ALTER born TYPE date")


async def test_what_is_newer_in_the_cache_stays(origin: AsyncEngine, cache: Any) -> None:
    async with Library(origin, cache=cache) as view:
        await view.Author(1)
        shape = view._space.rows[Author].number
        old = Change(shape, 1.0, {1: (1, "old", None), 2: (2, "old", None)})
        view._space.save(old)
    async with Library(None, cache=cache, mode=Mode.OFFLINE) as view:
        assert (await view.Author(1)).name == "Lem"
        assert (await view.Author(2)).name == "old"


async def test_programs_with_other_fields_share_a_file(origin: AsyncEngine, file: str) -> None:
    async with Library(origin, cache=file) as view, OldLibrary(origin, cache=file) as other:
        await view.Author(1)
        await other.Author(2)
    async with Library(None, cache=file, mode=Mode.OFFLINE) as view:
        assert (await view.Author(1)).name == "Lem"
    async with OldLibrary(None, cache=file, mode=Mode.OFFLINE) as other:
        assert (await other.Author(2)).name == "Ballard"


async def test_an_empty_cache_says_how_to_fill_it(file: str) -> None:
    with pytest.raises(NeverLoaded, match="knows nothing of table 'author': open the view once"):
        async with Library(None, cache=file, mode=Mode.OFFLINE):
            pass


def junk(path: Path) -> str:
    path.write_bytes(b"This is no database at all." * 100)
    return "cannot be used (file is not a database): delete it"


def foreign(path: Path) -> str:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    return "is a file of another program: give the cache another path"


def older(path: Path) -> str:
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    return "has format 99, and this dalkit reads 2: delete it"


def folder(path: Path) -> str:
    path.mkdir()
    return "cannot be used (Is a directory): give a path that this user may write"


def nowhere(path: Path) -> str:
    path.parent.rmdir()
    return "cannot be used (No such file or directory): give a path that this user may write"


@pytest.mark.parametrize("make", [junk, foreign, older, folder, nowhere])
async def test_what_is_no_cache_is_one_sentence(
    origin: AsyncEngine, tmp_path: Path, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "there").mkdir()
    path = tmp_path / "there" / "library.cache"
    sentence = make(path)
    if path.is_file():
        path.chmod(0o644)
    before = content_and_mode(path)
    with pytest.raises(CacheError) as caught:
        async with Library(None, cache=f"sqlite:///{path}", mode=Mode.OFFLINE):
            pass
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    async with Library(origin, cache=f"sqlite:///{path}") as view:
        assert len(await (await view.Author(1)).books) == 3
    assert [sentence in one for one in caplog.messages] == [True]
    assert "goes on without its cache" in caplog.messages[0]
    assert content_and_mode(path) == before


def content_and_mode(path: Path) -> Any:
    """What nobody may change of a file that is no cache."""
    return (path.read_bytes(), path.stat().st_mode) if path.is_file() else None


async def test_a_number_beyond_bigint_is_in_no_cache_and_harms_none(
    origin: AsyncEngine, cache: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with Library(origin, cache=cache, mode=Mode.PREFER_CACHE) as view:
        for key in (2**31, 2**63, -(2**31) - 1, 2**70):
            lem, found = await asyncio.gather(view.Author(1), view.find(Author, key))
            assert (lem.name, found) == ("Lem", None)
            assert await view.find(Invoice, key, "7") is None
        with pytest.raises(Missing, match=r"^Author\(1180591620717411303424\) does not exist.$"):
            await view.Author(2**70)
    async with Library(None, cache=cache, mode=Mode.OFFLINE) as view:
        for key in (2**31, 2**63, -(2**63) - 1, 2**70):
            with pytest.raises(NeverLoaded):
                await view.Author(key)
        assert (await view.Author(1)).name == "Lem"
    assert caplog.messages == []


class Born(NamedTuple):
    """What a codec of the owner's own makes of a date."""

    text: str


async def test_a_value_that_no_cache_can_hold_costs_its_own_rows_only(
    library_url: str, db_of_library: Any, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = create_engine(library_url)

    @event.listens_for(engine.sync_engine, "connect")
    def set_codec(connection: Any, _: object) -> None:
        own = {"schema": "pg_catalog", "encoder": str, "decoder": Born}
        connection.run_async(lambda driver: driver.set_type_codec("date", **own))

    async with Library(engine, cache=file) as view:
        assert isinstance((await view.Author(1)).born, Born)
        await view.Book(1)
    await engine.dispose()
    assert caplog.messages == ["A cache cannot hold a value of type Born."]
    async with Library(None, cache=file, mode=Mode.OFFLINE) as view:
        assert (await view.Book(1)).title == "Solaris"
        with pytest.raises(NeverLoaded):
            await view.Author(1)


async def test_closing_leaves_nothing_open_whatever_fails(
    library_url: str, db_of_library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise ArithmeticError

    view = Library(library_url, cache=tmp_path / "library.cache")
    with pytest.raises(ArithmeticError):
        async with view:
            await view.Author(1)
            await view._space.saved()
            (connection,) = view._origin._connections  # type: ignore[union-attr]
            monkeypatch.setattr(view._space, "saved", fail)
    assert connection.is_closed()
    assert view._cache._driver._reader is None  # type: ignore[union-attr]


async def test_two_that_give_a_file_up_at_once_close_it_once(tmp_path: Path) -> None:
    file = SqliteFile(tmp_path / "library.cache")
    await file.open()
    cache = Cache(file, is_required=True)
    await cache.save(Change(1, 0.0, {1: (1,)}))  # a thread for writes, and one for reads
    await cache.everything(1, None)
    await asyncio.gather(file.close(), file.close())


async def test_a_deadlock_with_another_process_is_tried_again(
    library_url: str, db_of_library: Any
) -> None:
    cache = PostgresCache(library_url)
    await cache.open()
    tries = []

    def steps() -> Steps[str]:
        tries.append(1)
        if len(tries) < 3:
            yield "DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$", ()
        ((found,),) = yield "SELECT 'done'", ()
        return str(found)

    try:
        assert await cache.write(steps) == "done"
        assert len(tries) == 3
    finally:
        await cache.close()
        await db_of_library.execute("DROP SCHEMA dalkit_view CASCADE")


async def test_the_timeout_is_that_of_execute_too(library_url: str, db_of_library: Any) -> None:
    async with Library(library_url) as view:
        view._origin._timeout = 0.2  # type: ignore[union-attr]
        with pytest.raises(TimeoutError):
            await view.execute(text("SELECT pg_sleep(10)"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_read_only_folder_is_one_sentence(origin: AsyncEngine, tmp_path: Path) -> None:
    await asyncio.to_thread(tmp_path.chmod, 0o500)
    try:
        with pytest.raises(CacheError, match="give a path that this user may write"):
            async with Library(None, cache=f"sqlite:///{tmp_path}/c", mode=Mode.OFFLINE):
                pass
        async with Library(origin, cache=f"sqlite:///{tmp_path}/c") as view:
            await view.Author(1)
    finally:
        await asyncio.to_thread(tmp_path.chmod, 0o700)


async def test_a_file_that_breaks_later_is_given_up(
    origin: AsyncEngine,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "library.cache"
    calls: dict[str, list[SqliteFile]] = {"open": [], "close": []}
    for name, drivers in calls.items():
        monkeypatch.setattr(SqliteFile, name, noting(drivers, getattr(SqliteFile, name)))
    async with Library(origin, cache=path) as view:
        await view.load(Book, include=(Book.author,))
    connection = sqlite3.connect(path)
    connection.execute("UPDATE rows SET row = '[1' WHERE row IS NOT NULL")
    connection.commit()
    connection.close()
    async with Library(None, cache=path, mode=Mode.OFFLINE) as view:
        with pytest.raises(CacheError, match="delete it"):
            await view.Author(1)
    async with Library(origin, cache=path, mode=Mode.PREFER_CACHE) as view:
        assert (await view.Author(1)).name == "Lem"
        assert len(await view.load(Book)) == 4
    assert len(caplog.messages) == 1
    assert len(calls["open"]) == 3
    assert all(driver in calls["close"] for driver in calls["open"])


def noting(drivers: list[SqliteFile], method: Any) -> Any:
    """The method, which notes whose it is."""

    async def call(self: SqliteFile) -> None:
        drivers.append(self)
        await method(self)

    return call


async def test_a_full_disk_costs_the_cache_and_nothing_else(
    origin: AsyncEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture, db_of_library: Any
) -> None:
    await db_of_library.execute(
        "INSERT INTO author SELECT i, repeat('x', 1000), NULL FROM generate_series(100, 999) i"
    )
    path = tmp_path / "library.cache"
    async with Library(origin, cache=path) as view:
        await view.Author(1)
        await view._space.saved()
        _, writer = view._cache._driver._threads["writer"]  # type: ignore[union-attr]
        writer.execute("PRAGMA max_page_count = 20")
        assert len(await view.load(Author)) == 903
    assert ["full" in one and "make room on the disk" in one for one in caplog.messages] == [True]
    async with Library(None, cache=path, mode=Mode.OFFLINE) as view:
        assert (await view.Author(1)).name == "Lem"


async def test_only_its_owner_may_read_the_file_and_it_names_no_origin(
    library_url: str, db_of_library: Any, tmp_path: Path
) -> None:
    path = tmp_path / "library.cache"
    url = library_url.replace("://", "://", 1)
    old = os.umask(0)
    try:
        async with Library(url, cache=path) as view:
            await view.load(Book, include=(Book.author,))
            await view._space.saved()
            files = sorted(await asyncio.to_thread(list, tmp_path.iterdir()))  # noqa: ASYNC240
            assert [one.name.removeprefix("library.cache") for one in files] == ["", "-shm", "-wal"]
            assert {one.stat().st_mode & 0o777 for one in files} == {0o600}
            content = b"".join(one.read_bytes() for one in files)
    finally:
        os.umask(old)
    database = url.rpartition("/")[2].partition("?")[0]
    for secret in (database, "127.0.0.1", "localhost", "postgresql://"):
        assert secret.encode() not in content
    path.chmod(0o644)
    async with Library(None, cache=path, mode=Mode.OFFLINE) as view:
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("cache", "message"),
    [
        ("library.cache", "is no URL: use sqlite:///library.cache"),
        ("mysql://user:secret@host/db", "in SQLite or PostgreSQL, not in mysql"),
    ],
)
def test_a_cache_that_is_none_of_these(cache: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Library(None, cache=cache, mode=Mode.OFFLINE)
    assert "secret" not in str(caught.value)


async def test_custom_statements_are_cached_by_text_and_values(
    origin: AsyncEngine, statements: Statements, cache: Any, db_of_library: asyncpg.Connection
) -> None:
    async with Library(origin, cache=cache) as view:
        book = view.table(Book)
        await statements.sent()
        for _ in range(2):
            found = await view.fetch(
                select(book).where(book.c.id.in_([1, 4])).order_by(book.c.id.desc()), Book
            )
            assert [one.title for one in found] == ["Crash", "Solaris"]
        assert await statements.count() == 1
        assert [b.id for b in await view.fetch(select(book).where(book.c.id.in_([2])), Book)] == [2]
        by_text = text("SELECT * FROM author WHERE name = :name")
        (lem,) = await view.fetch(by_text, Author, {"name": "Lem"}, include=(Author.books,))
        assert lem is await view.Author(1)
        assert await statements.count() == 3
        count = text("SELECT count(*) AS n FROM tagging")
        assert await view.execute(count) == [{"n": 5}]
        await db_of_library.execute("DELETE FROM tagging")
        assert await view.execute(count) == [{"n": 0}]
        with pytest.raises(LookupError, match="The statement has no column 'born'"):
            await view.fetch(text("SELECT id, name FROM author"), Author)
    async with Library(None, cache=cache, mode=Mode.OFFLINE) as view:
        book = view.table(Book)
        found = await view.fetch(
            select(book).where(book.c.id.in_([1, 4])).order_by(book.c.id.desc()), Book
        )
        assert [one.title for one in found] == ["Crash", "Solaris"]
        assert len(await view.fetch(by_text, Author, {"name": "Lem"}, include=(Author.books,))) == 1
        with pytest.raises(NeverLoaded, match="The result of"):
            await view.fetch(by_text, Author, {"name": "Ballard"})
        with pytest.raises(ValueError, match="no origin that could execute"):
            await view.execute(by_text)


async def test_many_sets_come_out_of_the_cache_as_they_went_in(
    origin: AsyncEngine,
    db_of_library: asyncpg.Connection,
    cache: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows of several times, neighbours that nobody asked for, gaps, and rows that are gone."""
    monkeypatch.setattr(sqlite, "MOST_IN_A_TEXT", 7)
    for statement in (
        "INSERT INTO author SELECT i, 'Author ' || i, NULL FROM generate_series(101, 160) i",
        "INSERT INTO book SELECT 3 * i, 'B', 101 + i % 50, NULL FROM generate_series(100, 220) i",
        "INSERT INTO book SELECT 50000 * i, 'F', 150 + i % 2, NULL FROM generate_series(1, 9) i",
    ):
        await db_of_library.execute(statement)
    async with Library(origin, cache=cache) as view:
        await view.load(Author, include=(Author.books,))
    await db_of_library.execute("UPDATE book SET title = title || '!' WHERE id % 4 = 0")
    await db_of_library.execute("DELETE FROM book WHERE id % 5 = 1 AND id > 4")
    between = datetime.now(UTC)
    async with Library(origin, cache=cache) as view:
        await asyncio.gather(*[view.find(Book, i) for i in range(300, 661) if i % 20 in (0, 1)])
    rows = await db_of_library.fetch("SELECT id, title, author_id FROM book")
    now = {row["id"]: (row["title"], row["author_id"]) for row in rows}
    asked = {i for i in range(300, 661) if i % 20 in (0, 1)}
    async with Library(None, cache=cache, mode=Mode.OFFLINE) as view:
        authors = await view.load(Author, include=(Author.books,))
        found = {book.id: (book, one.id) for one in authors for book in await one.books}
        for key, (book, _) in found.items():
            assert (view.age(book).at > between) == (key in asked)
    assert not {i for i in asked & found.keys() if i not in now}
    assert found.keys() - now.keys() == {i for i in range(300, 661, 3) if i % 5 == 1} - asked
    for key, (book, author) in found.items():
        assert book.author_id == author
        if key in now:
            title = now[key][0] if key in asked or key % 4 else now[key][0].rstrip("!")
            assert book.title == title


@pytest.mark.parametrize("members", ["[1, 2", "5", '["x"]', "[[1]]"])
async def test_damaged_members_are_a_warning(
    origin: AsyncEngine, tmp_path: Path, members: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "library.cache"
    async with Library(origin, cache=path) as view:
        await (await view.Author(1)).books
    connection = sqlite3.connect(path)
    connection.execute("UPDATE sets SET members = ?", (members,))
    connection.commit()
    connection.close()
    async with Library(origin, cache=path, mode=Mode.PREFER_CACHE) as view:
        assert [one.id for one in await (await view.Author(1)).books] == [1, 2, 3]
    assert "cannot be used" in caplog.text


@pytest.mark.parametrize("cache", ["file", "postgres"], indirect=True)
async def test_a_read_is_of_one_moment(origin: AsyncEngine, cache: Any) -> None:
    async with Library(origin, cache=cache) as view:
        await view.load(Book)
    async with Library(None, cache=cache, mode=Mode.OFFLINE) as view:
        reader: Any = view._cache._driver
        other = Cache(driver_of(cache), is_required=True)
        await other.open()

        def steps() -> Steps[list[Any]]:
            before = yield "SELECT count(*) FROM rows", ()
            asyncio.run_coroutine_threadsafe(forget(other), loop).result(20)
            after = yield "SELECT count(*) FROM rows", ()
            return [before[0][0], after[0][0]]

        loop = asyncio.get_running_loop()
        if isinstance(reader, SqliteFile):
            counts = await reader.read(steps(), 1000)  # in its thread
        else:
            counts = await asyncio.to_thread(asyncio.run, with_another(cache, steps()))
        assert counts == [4, 4]
        assert await reader.read(count(), 1000) == 0
        await other.close()


async def with_another(cache: str, steps: Steps[list[Any]]) -> list[Any]:
    """Read by a driver of this event loop."""
    driver = PostgresCache(cache)
    try:
        return await driver.read(steps, 1000)
    finally:
        await driver.close()


async def forget(cache: Cache) -> None:
    """Delete all rows."""
    await cache._write(lambda _: all_rows(), None)


def all_rows() -> Steps[None]:
    """Delete them."""
    yield "DELETE FROM rows", ()


def count() -> Steps[int]:
    """How many there are."""
    number: int = (yield "SELECT count(*) FROM rows", ())[0][0]
    return number
