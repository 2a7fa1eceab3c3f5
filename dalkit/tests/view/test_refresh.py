"""What is asked for again: one row, and everything, all or nothing."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from dalkit.view import Missing, Mode, NeverLoaded, Refreshed
from dalkit.view.cache_sql import Statements as CacheStatements

from tests.view.fixtures import Statements
from tests.view.library import Author, Book, Library
from tests.view.test_loading import waiting_for_a_lock


async def test_refresh_changes_the_object_and_its_known_relations(
    origin: AsyncEngine, statements: Statements, db_of_library: asyncpg.Connection, cache: Any
) -> None:
    async with Library(origin, cache=cache, mode=Mode.PREFER_CACHE) as view:
        lem = await view.Author(1)
        await lem.books
        await db_of_library.execute("UPDATE author SET name = 'S. Lem' WHERE id = 1")
        await db_of_library.execute("INSERT INTO book VALUES (5, 'Golem', 1, NULL)")
        assert await view.Author(1) is lem
        assert lem.name == "Lem"
        await statements.sent()
        assert await view.refresh(lem) is lem
        assert await statements.count() == 2  # edited was not known
        assert lem.name == "S. Lem"
        assert [b.title for b in await lem.books][-1] == "Golem"
    async with Library(None, cache=cache, mode=Mode.OFFLINE) as view:
        assert (await view.Author(1)).name == "S. Lem"
        assert len(await (await view.Author(1)).books) == 4


async def test_refresh_of_a_row_that_is_gone(
    origin: AsyncEngine, db_of_library: asyncpg.Connection, cache: Any
) -> None:
    async with Library(origin, cache=cache) as view:
        crash = await view.Book(4)
        assert len(await (await view.Author(2)).books) == 1
        await db_of_library.execute("DELETE FROM book WHERE id = 4")
        with pytest.raises(Missing, match=r"Book\(4\) is gone"):
            await view.refresh(crash)
        assert crash.title == "Crash"
        with pytest.raises(Missing):
            await view.Book(4)
        assert await (await view.Author(2)).books == ()


async def test_refresh_needs_an_origin(origin: AsyncEngine, file: str) -> None:
    async with Library(origin, cache=file) as view:
        await view.Author(1)
    async with Library(None, cache=file, mode=Mode.OFFLINE) as view:
        lem = await view.Author(1)
        with pytest.raises(ValueError, match="no origin that could be asked again"):
            await view.refresh(lem)
        with pytest.raises(ValueError, match="no origin that could be asked again"):
            await view.refresh_all()


async def test_refresh_all_counts_and_renews_everything(
    origin: AsyncEngine, db_of_library: asyncpg.Connection, cache: Any
) -> None:
    async with Library(origin, cache=cache) as view:
        await view.load(Book, include=(Book.author, Author.books, Book.tags))
        await view.find(Author, 99)
    await db_of_library.execute(
        """
        UPDATE author SET name = 'S. Lem' WHERE id = 1;
        UPDATE book SET author_id = 2 WHERE id = 2;
        DELETE FROM tagging;
        DELETE FROM book WHERE id = 3;
        INSERT INTO book VALUES (5, 'Golem', 1, NULL);
        INSERT INTO author VALUES (99, 'New', NULL);
        """
    )
    async with Library(origin, cache=cache, mode=Mode.PREFER_CACHE) as view:
        lem, eden, fiasco = await view.Author(1), await view.Book(2), await view.Book(3)
        assert len(await lem.books) == 3
        # Ballard, Solaris, Crash, two tags; Lem, Eden, Golem, author 99; Fiasco
        assert await view.refresh_all() == Refreshed(same=5, changed=4, gone=1, failed=0)
        assert lem.name == "S. Lem"
        assert eden.author_id == 2
        assert [b.id for b in await lem.books] == [1, 5]
        assert fiasco not in await view.load(Book)
        assert await view.find(Book, 3) is None
    async with Library(None, cache=cache, mode=Mode.OFFLINE) as view:
        assert [b.id for b in await view.load(Book)] == [1, 2, 4, 5]
        assert [b.id for b in await (await view.Author(1)).books] == [1, 5]
        assert [b.id for b in await (await view.Author(2)).books] == [2, 4]
        assert (await view.Author(99)).name == "New"
        assert await (await view.Book(1)).tags == ()


async def test_refresh_all_without_a_cache(
    origin: AsyncEngine, db_of_library: asyncpg.Connection
) -> None:
    async with Library(origin) as view:
        lem = await view.Author(1)
        await lem.books
        await db_of_library.execute("UPDATE author SET name = 'S. Lem' WHERE id = 1")
        assert await view.refresh_all() == Refreshed(same=3, changed=1, gone=0, failed=0)
        assert lem.name == "S. Lem"


async def test_what_the_origin_refuses_stays_as_it_was(
    origin: AsyncEngine, db_of_library: asyncpg.Connection, file: str
) -> None:
    async with Library(origin, cache=file) as view:
        await view.load(Book, include=(Book.author,))
        await db_of_library.execute("ALTER TABLE book RENAME TO opus")
        try:
            found = await view.refresh_all()
        finally:
            await db_of_library.execute("ALTER TABLE opus RENAME TO book")
        assert found == Refreshed(same=2, changed=0, gone=0, failed=5)  # 4 books and a statement
    async with Library(None, cache=file, mode=Mode.OFFLINE) as view:
        assert len(await view.load(Book)) == 4


async def test_an_interrupted_refresh_all_changes_nothing(
    origin: AsyncEngine,
    db_of_library: asyncpg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "library.cache"
    async with Library(origin, cache=path) as view:
        await view.load(Book, include=(Book.author, Author.books))
    await db_of_library.execute("UPDATE author SET name = 'new'; UPDATE book SET title = 'new'")
    before = content(path)
    save, calls = CacheStatements.save, 0

    def interrupted(self: Any, change: Any, owner: str) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise sqlite3.OperationalError("interrupted")
        return save(self, change, owner)

    async with Library(origin, cache=path) as view:
        lem = await view.Author(1)
        await view._space.saved()
        before = content(path)
        with monkeypatch.context() as patch:
            patch.setattr(CacheStatements, "save", interrupted)
            await view.refresh_all()
        assert calls == 3
        assert lem.name == "new"
    assert content(path) == before
    async with Library(origin, cache=path) as view:
        await view.refresh_all()
    async with Library(None, cache=path, mode=Mode.OFFLINE) as view:
        assert {one.title for one in await view.load(Book)} == {"new"}


async def test_a_cancelled_refresh_all_changes_nothing(
    origin: AsyncEngine, db_of_library: asyncpg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "library.cache"
    async with Library(origin, cache=path) as view:
        books = await view.load(Book)
        await view._space.saved()
        before = content(path)
        async with db_of_library.transaction():
            await db_of_library.execute(
                "UPDATE author SET name = 'new'; UPDATE book SET title = 'new'"
            )
            await db_of_library.execute("LOCK TABLE book")
            refreshing = asyncio.ensure_future(view.refresh_all())
            await waiting_for_a_lock(db_of_library)
            refreshing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await refreshing
        assert content(path) == before
        assert {one.title for one in books} != {"new"}
    assert origin.pool.checkedout() == 0  # type: ignore[attr-defined]


def content(path: Path) -> list[Any]:
    """All rows and sets of a cache."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT * FROM rows ORDER BY shape, key").fetchall()
    sets = connection.execute("SELECT * FROM sets ORDER BY shape, relation, key").fetchall()
    connection.close()
    return [rows, sets]


async def test_a_set_that_lost_a_row_is_no_set(origin: AsyncEngine, tmp_path: Path) -> None:
    path = tmp_path / "library.cache"
    async with Library(origin, cache=path) as view:
        await (await view.Author(1)).books
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM rows WHERE key = 2 AND row LIKE '%Eden%'")
    connection.commit()
    connection.close()
    async with Library(None, cache=path, mode=Mode.OFFLINE) as view:
        with pytest.raises(NeverLoaded):
            await (await view.Author(1)).books
