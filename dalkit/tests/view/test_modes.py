"""The modes: what each asks of the origin and of the cache, and what it notices."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from dalkit.data.engine import create_engine
from dalkit.view import Missing, Mode, NeverLoaded, OriginError

from tests.data.proxy import Proxy, proxied
from tests.view.fixtures import Statements
from tests.view.library import Author, Book, Library


@pytest.fixture
async def filled(origin: AsyncEngine, statements: Statements, cache: Any) -> Any:
    """A cache that holds Lem with all books, and that there is no author 99."""
    async with Library(origin, cache=cache) as view:
        lem = await view.Author(1)
        await asyncio.gather(*[book.editor for book in await lem.books])
        assert await view.find(Author, 99) is None
    await statements.sent()
    return cache


async def test_online_asks_for_each_thing_once_per_view(
    origin: AsyncEngine, statements: Statements, filled: Any
) -> None:
    async with Library(origin, cache=filled) as view:
        await statements.sent()
        for _ in range(2):
            lem = await view.Author(1)
            await lem.books
            assert await view.find(Author, 99) is None
        assert await statements.count() == 3
        assert view.age(lem).source == "origin"


async def test_prefer_cache_asks_for_what_was_never_loaded(
    origin: AsyncEngine, statements: Statements, filled: Any
) -> None:
    async with Library(origin, cache=filled, mode=Mode.PREFER_CACHE) as view:
        lem = await view.Author(1)
        await lem.books
        assert await view.find(Author, 99) is None
        assert view.age(lem).source == "cache"
        assert await statements.sent() == []  # the origin was not even looked at
        await view.Author(3)
        assert await statements.count() == 1
        await view.find(Author, 98)
        assert await statements.count() == 1


async def test_prefer_cache_asks_for_what_is_too_old(
    origin: AsyncEngine, statements: Statements, filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, ahead = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: real() + ahead)
    async with Library(origin, cache=filled, mode=Mode.PREFER_CACHE, fresh_for=60) as view:
        lem = await view.Author(1)
        books = await lem.books
        assert await statements.sent() == []
        ahead = 61
        assert await view.Author(1) is lem
        assert await lem.books == books
        assert await statements.count() == 2
        assert view.age(lem).source == "origin"
        assert view.age(lem).seconds < 60
        await view.Author(1)
        assert await statements.sent() == []


async def test_offline_asks_nothing(
    filled: Any, origin: AsyncEngine, statements: Statements
) -> None:
    for given in (None, origin):
        async with Library(given, cache=filled, mode=Mode.OFFLINE) as view:
            lem = await view.Author(1)
            assert len(await lem.books) == 3
            assert await view.find(Author, 99) is None
            with pytest.raises(Missing):
                await view.Author(99)
            with pytest.raises(NeverLoaded, match=r"Author\(3\) is not in the cache"):
                await view.Author(3)
            with pytest.raises(NeverLoaded, match=r"Author.edited of 1 is not in the cache"):
                await lem.edited
            assert await view.find(Author, 3, default=None) is None
            assert await lem.edited(default=()) == ()
            assert await view.load(Author, default=()) == ()
    assert await statements.sent() == []


async def test_a_mode_can_be_set_at_run_time_and_for_a_call(
    origin: AsyncEngine, statements: Statements, filled: Any
) -> None:
    async with Library(origin, cache=filled, mode=Mode.OFFLINE) as view:
        lem = await view.Author(1)
        assert await view.Author(1, mode=Mode.ONLINE) is lem
        assert view.age(lem).source == "origin"
        assert len(await lem.edited(mode=Mode.ONLINE)) == 0
        view.mode = Mode.ONLINE
        await statements.sent()
        await lem.books  # it was known from the cache only
        assert len(await lem.books) == 3
        assert await statements.count() == 1
        with pytest.raises(NeverLoaded):
            await view.Author(3, mode=Mode.OFFLINE)
        assert (await view.Author(3)).name == "Nobody"
    async with Library(None, cache=filled, mode=Mode.OFFLINE) as offline:
        with pytest.raises(ValueError, match="ONLINE needs an origin"):
            offline.mode = Mode.ONLINE
        with pytest.raises(ValueError, match="ONLINE needs an origin"):
            await offline.Author(3, mode=Mode.ONLINE)


async def test_online_notices_what_has_changed(
    origin: AsyncEngine, db_of_library: asyncpg.Connection, filled: Any
) -> None:
    await db_of_library.execute("UPDATE author SET name = 'S. Lem' WHERE id = 1")
    await db_of_library.execute("UPDATE book SET author_id = 2 WHERE id = 1")
    await db_of_library.execute("DELETE FROM tagging; DELETE FROM book WHERE id = 3")
    async with Library(origin, cache=filled) as view:
        lem, ballard = await view.Author(1), await view.Author(2)
        assert lem.name == "S. Lem"
        assert [b.id for b in await lem.books] == [2]
        assert [b.id for b in await ballard.books] == [1, 4]
        assert await (await view.Book(1)).author is ballard
    async with Library(None, cache=filled, mode=Mode.OFFLINE) as view:
        lem, ballard = await view.Author(1), await view.Author(2)
        assert lem.name == "S. Lem"
        assert [b.id for b in await lem.books] == [2]
        assert [b.id for b in await ballard.books] == [1, 4]
        with pytest.raises(NeverLoaded):  # it was in no set any more
            await view.Book(3)


async def test_a_row_that_left_a_set_stays_while_it_is_in_another(
    origin: AsyncEngine, db_of_library: asyncpg.Connection, cache: Any
) -> None:
    async with Library(origin, cache=cache) as view:
        await view.load(Book)
        await (await view.Author(1)).books
    await db_of_library.execute("UPDATE book SET author_id = 2 WHERE id = 1")
    async with Library(origin, cache=cache) as view:
        await (await view.Author(1)).books
    async with Library(None, cache=cache, mode=Mode.OFFLINE) as view:
        assert [b.id for b in await view.load(Book)] == [1, 2, 3, 4]
        assert [b.id for b in await (await view.Author(1)).books] == [2, 3]


async def test_what_is_gone_does_not_come_back_from_the_cache(
    origin: AsyncEngine, db_of_library: asyncpg.Connection, filled: Any
) -> None:
    await db_of_library.execute("DELETE FROM tagging; DELETE FROM book WHERE id = 3")
    async with Library(origin, cache=filled) as view:
        lem = await view.Author(1, mode=Mode.OFFLINE)
        assert await view.find(Book, 3) is None  # which is not in the cache, yet
        assert [b.id for b in await lem.books(mode=Mode.OFFLINE)] == [1, 2]
        assert await view.find(Book, 3) is None


async def test_a_row_that_moved_is_seen_within_a_view(
    origin: AsyncEngine, db_of_library: asyncpg.Connection
) -> None:
    async with Library(origin) as view:
        lem, ballard = await view.Author(1), await view.Author(2)
        solaris = (await lem.books)[0]
        await db_of_library.execute("UPDATE book SET author_id = 2 WHERE id = 1")
        assert [b.id for b in await ballard.books] == [1, 4]
        assert solaris.author_id == 2
        assert await solaris.author is ballard
        assert [b.id for b in await lem.books] == [2, 3]  # it was asked for again


async def test_a_row_that_moved_is_not_in_an_older_set_of_the_cache(
    origin: AsyncEngine, db_of_library: asyncpg.Connection, filled: Any
) -> None:
    await db_of_library.execute("UPDATE book SET author_id = 2 WHERE id = 1")
    async with Library(origin, cache=filled) as view:
        await view.Book(1)
    async with Library(None, cache=filled, mode=Mode.OFFLINE) as view:
        assert [b.id for b in await (await view.Author(1)).books] == [2, 3]


@pytest.fixture
async def proxy(library_url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A way to the origin that can be cut."""
    async with proxied(library_url) as it:
        yield it


DEAD = "postgresql://nobody@127.0.0.1:1/none?sslmode=disable"


@pytest.mark.parametrize("url", [DEAD, "postgresql://nobody@nowhere.invalid/none"])
async def test_fallback_serves_the_cache_when_nothing_listens_or_no_host_is_known(
    filled: Any, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Library(url, cache=filled, mode=Mode.FALLBACK) as view:
        lem = await view.Author(1)
        assert view.age(lem).is_stale
        assert view.age(lem).source == "cache"
        assert len(await lem.books) == 3
        assert view.age(lem, Author.books).is_stale
        assert await view.find(Author, 99) is None
        with pytest.raises(NeverLoaded, match="The origin cannot be reached") as caught:
            await view.Author(3)
        assert isinstance(caught.value.__cause__, OSError)
    assert len(caplog.messages) == 1  # the origin was tried once
    assert "The origin cannot be reached" in caplog.messages[0]


async def test_online_and_prefer_cache_do_not_fall_back(filled: Any) -> None:
    with pytest.raises(OriginError, match=r"^PostgreSQL at 127.0.0.1:1/\w+ cannot be reached"):
        async with Library(DEAD, cache=filled):
            pass
    async with Library(DEAD, cache=filled, mode=Mode.PREFER_CACHE) as view:
        await view.Author(1)
        with pytest.raises(OriginError) as caught:
            await view.Author(3)
        assert isinstance(caught.value.__cause__, OSError)


async def test_fallback_goes_back_to_the_origin_after_a_pause(
    proxy: tuple[Proxy, str],
    filled: Any,
    db_of_library: asyncpg.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    through, url = proxy
    async with Library(url, cache=filled, mode=Mode.FALLBACK, retry_after=0.3) as view:
        lem = await view.Author(1)
        assert not view.age(lem).is_stale
        view._origin._timeout = 0.5  # type: ignore[union-attr]
        through.is_silent = True
        started = time.monotonic()
        assert (await view.Book(1)).title == "Solaris"
        assert time.monotonic() - started > 0.4  # it was waited for
        assert "(TimeoutError)" in caplog.text
        assert view.age(await view.Book(1)).is_stale
        await view.Book(2)
        through.is_silent = False
        await db_of_library.execute("UPDATE book SET title = 'Solaris!' WHERE id = 1")
        async with asyncio.timeout(60):
            while view.age(await view.Book(1)).is_stale:
                await asyncio.sleep(0.05)
        assert (await view.Book(1)).title == "Solaris!"
        assert view.age(await view.Book(1)).source == "origin"


async def test_fallback_when_connections_are_killed_and_refused(
    origin: AsyncEngine,
    filled: Any,
    db_of_library: asyncpg.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        Library(origin, cache=filled, mode=Mode.FALLBACK) as view,
        db_of_library.transaction(),
    ):
        await db_of_library.execute("LOCK TABLE author")
        waiting = asyncio.ensure_future(view.Author(1))
        kill = (
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database d ON d.oid = database "
            "WHERE NOT granted AND datname = current_database()"
        )
        async with asyncio.timeout(60):
            while not await db_of_library.fetch(kill):
                await asyncio.sleep(0.01)
        assert view.age(await waiting).is_stale
    (message,) = caplog.messages
    assert re.fullmatch(r"The origin cannot be reached \(.+\): the view uses its cache\.", message)


async def test_fallback_raises_what_is_not_an_outage(
    filled: Any, origin: AsyncEngine, db_of_library: asyncpg.Connection
) -> None:
    async with Library(origin, cache=filled, mode=Mode.FALLBACK) as view:
        await db_of_library.execute("ALTER TABLE author RENAME TO writer")
        try:
            with pytest.raises(Exception, match='relation "author" does not exist'):
                await view.Author(1)
        finally:
            await db_of_library.execute("ALTER TABLE writer RENAME TO author")


async def test_fallback_without_a_cache_keeps_what_the_view_knows(
    proxy: tuple[Proxy, str], db_of_library: asyncpg.Connection
) -> None:
    through, url = proxy
    engine = create_engine(url)
    try:
        async with Library(engine, mode=Mode.FALLBACK) as view:
            lem = await view.Author(1)
            view._origin._timeout = 0.3  # type: ignore[union-attr]
            through.is_silent = True
            with pytest.raises(NeverLoaded):
                await view.Author(2)
            assert await view.Author(1) is lem
            assert not view.age(lem).is_stale
            with pytest.raises(NeverLoaded, match="not in the view, which has no cache"):
                await lem.books
    finally:
        await engine.dispose()


async def test_a_relation_that_was_not_loaded_has_no_age(origin: AsyncEngine) -> None:
    async with Library(origin) as view:
        lem = await view.Author(1)
        with pytest.raises(NeverLoaded, match=r"Author.books of Author\(id=1.*await it first"):
            view.age(lem, Author.books)
        await lem.books
        assert 0 <= view.age(lem, Author.books).seconds < 60
        assert view.age(lem).at.tzinfo is not None
