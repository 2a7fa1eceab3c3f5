"""Loads are batched, shared, bounded; neither a cancelled waiter nor an error harms others."""

import asyncio
import threading
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from dalkit.view import Missing, Mode, NotLive, loader

from tests.data.proxy import proxied
from tests.view.fixtures import Statements
from tests.view.library import Author, Book, Library

FILL = """
INSERT INTO author SELECT i, 'Author ' || i, NULL FROM generate_series(1001, 2000) i;
INSERT INTO book SELECT i, 'Book ' || i, i, NULL FROM generate_series(1001, 2000) i;
"""
MODES = [Mode.ONLINE, Mode.PREFER_CACHE, Mode.FALLBACK]


@pytest.mark.parametrize("mode", MODES)
async def test_a_thousand_parents_are_one_statement(
    origin: AsyncEngine,
    statements: Statements,
    db_of_library: asyncpg.Connection,
    file: str,
    mode: Mode,
) -> None:
    await db_of_library.execute(FILL)
    async with Library(origin, cache=file, mode=mode) as view:
        books = await view.load(Book)
        await statements.sent()
        authors = await asyncio.gather(*[book.author for book in books])
        assert await statements.count() == 1
        assert len(set(authors)) == 1002
        sets = await asyncio.gather(*[author.books for author in authors])
        assert await statements.count() == 1
        assert {book for some in sets for book in some} == set(books)
    async with Library(None, cache=file, mode=Mode.OFFLINE) as view:
        assert len(await view.load(Book, include=(Book.author, Author.books))) == 1004
    assert await statements.sent() == []


async def test_what_is_asked_for_at_once_is_asked_for_once(
    origin: AsyncEngine, statements: Statements
) -> None:
    async with Library(origin) as view:
        await statements.sent()
        found = await asyncio.gather(*[view.Author(1) for _ in range(10)])
        assert await statements.count() == 1
        assert len(set(found)) == 1
        sets = await asyncio.gather(*[found[0].books for _ in range(10)])
        assert await statements.count() == 1
        assert all(one is sets[0] for one in sets)


async def test_a_batch_is_bounded(
    origin: AsyncEngine, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "MOST_KEYS", 2)
    async with Library(origin) as view:
        await statements.sent()
        await asyncio.gather(*[view.Book(i) for i in (1, 2, 3, 4)], view.find(Book, 5))
        assert await statements.count() == 3


async def test_who_waits_is_not_harmed_when_who_asked_first_is_cancelled(
    origin: AsyncEngine, statements: Statements, db_of_library: asyncpg.Connection
) -> None:
    async with Library(origin) as view, db_of_library.transaction():
        await statements.sent()
        await db_of_library.execute("LOCK TABLE author")
        first = asyncio.ensure_future(view.Author(1))
        others = [asyncio.ensure_future(view.Author(1)) for _ in range(3)]
        await waiting_for_a_lock(db_of_library)
        first.cancel()
        others[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        late = asyncio.ensure_future(view.Author(1))
        await db_of_library.execute("COMMIT; BEGIN")
        assert await late is await others[1] is await others[2]
        assert await statements.count() == 1


async def waiting_for_a_lock(conn: asyncpg.Connection, number: int = 1) -> None:
    """Return when so many statements wait for a lock in this database."""
    query = (
        "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
        "WHERE NOT granted AND datname = current_database()"
    )
    async with asyncio.timeout(60):
        while await conn.fetchval(query) < number:
            await asyncio.sleep(0.01)


async def test_a_load_that_nobody_waits_for_any_more_is_finished(
    origin: AsyncEngine, statements: Statements, db_of_library: asyncpg.Connection
) -> None:
    async with Library(origin) as view:
        await statements.sent()
        async with db_of_library.transaction():
            await db_of_library.execute("LOCK TABLE author")
            only = asyncio.ensure_future(view.Author(1))
            await waiting_for_a_lock(db_of_library)
            only.cancel()
        assert (await view.Author(1)).name == "Lem"
        assert await statements.count() == 1


async def test_an_error_is_delivered_to_all_and_never_kept(
    origin: AsyncEngine, statements: Statements, db_of_library: asyncpg.Connection, file: str
) -> None:
    async with Library(origin, cache=file) as view:
        await db_of_library.execute("ALTER TABLE author RENAME TO writer")
        try:
            results = await asyncio.gather(
                *[view.Author(i) for i in (1, 1, 2)], return_exceptions=True
            )
            assert [getattr(one, "orig", None).sqlstate for one in results] == ["42P01"] * 3  # type: ignore[union-attr]
        finally:
            await db_of_library.execute("ALTER TABLE writer RENAME TO author")
        assert (await view.Author(1)).name == "Lem"


async def test_a_row_that_came_later_is_found_by_a_new_view(
    origin: AsyncEngine, db_of_library: asyncpg.Connection, file: str
) -> None:
    async with Library(origin, cache=file) as view:
        assert await view.find(Author, 7) is None
    await db_of_library.execute("INSERT INTO author VALUES (7, 'Dick', NULL)")
    async with Library(origin, cache=file, mode=Mode.PREFER_CACHE) as view:
        with pytest.raises(Missing):  # "there is none" is in the cache
            await view.Author(7)
        assert (await view.Author(7, mode=Mode.ONLINE)).name == "Dick"
    async with Library(None, cache=file, mode=Mode.OFFLINE) as view:
        assert (await view.Author(7)).name == "Dick"


@pytest.mark.parametrize("key", ["1", True, 1.0, None])
async def test_a_key_has_the_type_of_its_column(origin: AsyncEngine, key: Any) -> None:
    async with Library(origin) as view:
        await view.Author(1)
        with pytest.raises(TypeError, match=r"Author.id is int, and .* is none"):
            await view.Author(key)


async def test_the_origin_is_never_written_to(
    origin: AsyncEngine, library_url: str, db_of_library: asyncpg.Connection
) -> None:
    insert = "INSERT INTO journal VALUES (1) RETURNING entry AS id, 'x' AS name, NULL::date AS born"
    call = "SELECT write_journal(1) AS id, 'x' AS name, NULL::date AS born"
    for given in (origin, library_url):
        async with Library(given) as view:
            for statement in (text(insert), text(call)):
                for attempt in (view.execute(statement), view.fetch(statement, Author)):
                    with pytest.raises(DBAPIError) as caught:
                        await attempt
                    assert getattr(caught.value.orig, "sqlstate", "") == "25006"  # read-only
    assert await db_of_library.fetchval("SELECT count(*) FROM journal") == 0


async def test_a_view_that_is_not_open_says_so(origin: AsyncEngine, file: str) -> None:
    view = Library(origin, cache=file)
    attempts: list[Any] = [
        lambda: view.Author(1),
        lambda: view.find(Author, 1),
        lambda: view.load(Author),
        lambda: view.fetch(text("SELECT 1"), Author),
        lambda: view.execute(text("SELECT 1")),
        view.refresh_all,
    ]
    for attempt in attempts:
        with pytest.raises(NotLive, match="not open"):
            await attempt()
    with pytest.raises(NotLive):
        view.table(Author)
    async with view:
        author = await view.Author(1)
        books = await author.books
        begun = [view.Author(1), view.find(Author, 2), view.load(Author)]
    attempts += [lambda: author.books, lambda: books[0].author, lambda: view.refresh(author)]
    attempts += [lambda one=one: one for one in begun]
    for attempt in attempts:
        with pytest.raises(NotLive):
            await attempt()
    assert author.name == "Lem"
    with pytest.raises(NotLive, match="opened once"):
        await view.__aenter__()


async def test_closing_cancels_loads_and_leaves_nothing(
    origin: AsyncEngine, library_url: str, db_of_library: asyncpg.Connection, file: str
) -> None:
    before = asyncio.all_tasks(), threading.active_count()
    async with db_of_library.transaction():
        async with Library(library_url, cache=file) as view:
            await view.Book(1)
            await db_of_library.execute("LOCK TABLE author")
            waiting = asyncio.ensure_future(view.Author(1))
            await waiting_for_a_lock(db_of_library)
        with pytest.raises(NotLive, match="closed while"):
            await waiting
    assert (asyncio.all_tasks(), threading.active_count()) == before
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name = 'dalkit.view' AND datname = current_database()"
    )
    async with asyncio.timeout(60):
        while await db_of_library.fetchval(query):
            await asyncio.sleep(0.01)


async def test_closing_does_not_wait_for_an_origin_that_is_silent(library_url: str) -> None:
    async with proxied(library_url) as (proxy, url):
        async with asyncio.timeout(20):
            async with Library(url) as view:
                await view.find(Author, 1)
                waiting = asyncio.ensure_future(view.find(Author, 2))
                proxy.is_silent = True
                await asyncio.sleep(0)
            with pytest.raises(NotLive):
                await waiting


async def test_the_engine_of_others_stays_open(origin: AsyncEngine) -> None:
    async with Library(origin) as view:
        await view.Author(1)
    async with origin.connect() as conn:
        assert (await conn.execute(text("SELECT 1"))).scalar() == 1
    assert origin.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_a_view_without_origin_is_offline(origin: AsyncEngine, file: str) -> None:
    needs = pytest.raises(ValueError, match=r"Mode.\w+ needs an origin: .* mode=Mode.OFFLINE")
    with needs:
        Library(None)
    async with Library(origin, cache=file) as view:
        await (await view.Author(1)).books
    async with Library(None, cache=file, mode=Mode.OFFLINE) as view:
        author = await view.Author(1)
        with needs:
            await view.Author(1, mode=Mode.ONLINE)
        with needs:
            await view.load(Author, mode=Mode.FALLBACK)
        with needs:
            _ = author.books(mode=Mode.PREFER_CACHE)
        with needs:
            view.mode = Mode.ONLINE
        assert len(await author.books(mode=Mode.OFFLINE)) == 3


async def test_what_is_no_mode_is_an_error_at_once(origin: AsyncEngine) -> None:
    wrong: Any = "offline"
    error = r"mode='offline' is no mode: use one of Mode.ONLINE, Mode.PREFER_CACHE"
    with pytest.raises(TypeError, match=error):
        Library(origin, mode=wrong)
    async with Library(origin) as view:
        author = await view.Author(1)
        await author.books
        attempts: list[Any] = [
            lambda: view.Author(1, mode=wrong),
            lambda: view.find(Author, 1, mode=wrong),
            lambda: view.load(Author, mode=wrong),
            lambda: view.fetch(text("SELECT 1"), Author, mode=wrong),
        ]
        for attempt in attempts:
            with pytest.raises(TypeError, match=error):
                await attempt()
        with pytest.raises(TypeError, match=error):
            _ = author.books(mode=wrong)  # before it is awaited
        with pytest.raises(TypeError, match=error):
            view.mode = wrong
