"""The seed's promises: awaitable relations, identity, counted statements, work without origin."""

import asyncio
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from dalkit.view import Missing, Mode

from tests.view.fixtures import Statements
from tests.view.library import Author, Book, Library


async def test_the_listings(origin: AsyncEngine, statements: Statements, cache: Any) -> None:
    async with Library(origin, cache=cache) as view:
        await statements.sent()
        a = await view.Author(1)
        assert await statements.count() == 1
        await a.books
        assert await statements.count() == 1
        assert len(await a.books) == 3
        assert await (await a.books)[0].author is a
        assert await asyncio.gather(*[b.author for b in await a.books]) == [a] * 3
        assert await statements.sent() == []
    async with Library(None, cache=cache, mode=Mode.OFFLINE) as view:
        a = await view.Author(1)
        assert [b.title for b in await a.books] == ["Solaris", "Eden", "Fiasco"]
        assert await asyncio.gather(*[b.author for b in await a.books]) == [a] * 3
    assert await statements.sent() == []


async def test_a_row_is_one_object_however_it_is_reached(origin: AsyncEngine) -> None:
    async with Library(origin) as view:
        a, b = await view.Author(1), await view.Book(1)
        assert (await view.find(Author, 1)) is a
        assert (await view.load(Author, {"name": "Lem"}))[0] is a
        assert (await b.author) is a
        assert b in await a.books
        profile = await a.profile
        assert profile is not None
        assert await view.Profile(profile.id) is profile
        assert await profile.author is a
        invoice = await view.Invoice(2026, "A")
        assert await (await view.Line(10)).invoice is invoice
        tags = await b.tags
        assert [await view.Tag("sf")] == list(tags)
        assert tags[0] is await view.Tag("sf")


async def test_none_is_known_too(origin: AsyncEngine, statements: Statements) -> None:
    async with Library(origin) as view:
        nobody = await view.Author(3)
        await statements.sent()
        assert await nobody.profile is None
        assert await nobody.profile is None
        assert await nobody.books == ()
        assert await nobody.books == ()
        assert await statements.count() == 2
        assert await (await view.Book(2)).editor is None
        assert await statements.count() == 1  # of the book: a key that is null is not asked for
        for _ in range(2):
            with pytest.raises(Missing, match=r"Author\(99\) does not exist"):
                await view.Author(99)
            assert await view.find(Author, 99) is None
        assert await statements.count() == 1


async def test_an_awaitable_can_be_awaited_again(origin: AsyncEngine) -> None:
    async with Library(origin) as view:
        books = (await view.Author(1)).books
        assert await books is await books


async def test_include_preloads_with_one_statement_for_each_relation(
    origin: AsyncEngine, statements: Statements
) -> None:
    async with Library(origin) as view:
        await statements.sent()
        authors = await view.load(Author, include=(Author.books, Book.author, Book.tags))
        assert await statements.count() == 3  # authors, books, tags: the authors of books are known
        for author in authors:
            for book in await author.books:
                assert await book.author is author
                await book.tags
        assert await statements.sent() == []


async def test_a_class_can_load_more_in_the_same_go(
    origin: AsyncEngine, statements: Statements
) -> None:
    async with WithBooks(origin) as view:
        await statements.sent()
        authors = await asyncio.gather(*[view.Author(i) for i in (1, 2, 3)])
        assert await statements.count() == 2
        assert [len(await one.books) for one in authors] == [3, 1, 0]
        assert await statements.sent() == []


class EagerAuthor(Author):
    """An author who comes with the books."""

    @classmethod
    async def load_by_key(cls, view: Any, keys: list[Any], include: Any = ()) -> None:
        await super().load_by_key(view, keys, include=(*include, Author.books))


class WithBooks(Library):
    Author = EagerAuthor


async def test_the_origin_may_be_a_url(library_url: str, db_of_library: asyncpg.Connection) -> None:
    async with Library(library_url) as view:
        assert [b.title for b in await (await view.Author(2)).books] == ["Crash"]
