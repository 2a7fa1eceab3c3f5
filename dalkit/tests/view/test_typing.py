"""What type checkers know: mypy reads this file, and fails for an ignore that is not needed."""

import asyncio
from typing import assert_type

from sqlalchemy.ext.asyncio import AsyncEngine

from dalkit.view import Mode

from tests.view.library import Author, Book, Library, Profile


async def test_the_types_of_the_listings(origin: AsyncEngine, file: str) -> None:
    async with Library(origin, cache=file) as view:
        a1 = await view.Author(1)
        assert_type(a1, Author)
        await a1.books
        assert len(await a1.books) == 3
        assert await (await a1.books)[0].author is a1
        assert_type(await a1.books, tuple[Book, ...])
        assert await asyncio.gather(*[b.author for b in await a1.books]) == [a1] * 3
        book = (await a1.books)[0]
        assert_type(await book.author, Author)
        assert_type(await book.editor, Author | None)
        assert_type(await a1.profile, Profile | None)
        assert_type(await book.author(mode=Mode.ONLINE), Author)
        assert_type(await view.find(Book, 1), Book | None)
        assert_type(await view.load(Book, include=(Book.author,)), tuple[Book, ...])
        assert_type(await view.refresh(a1), Author)
        assert_type(book.title, str)
    async with Library(None, cache=file, mode=Mode.OFFLINE) as view:
        a1 = await view.Author(1)
        assert await asyncio.gather(*[b.author for b in await a1.books]) == [a1] * 3


async def never_run(view: Library, author: Author) -> None:
    """What a type checker refuses."""
    name: str = view.Author(1).name  # type: ignore[attr-defined]
    view.Author(1)  # type: ignore[unused-awaitable]
    for _ in author.books:  # type: ignore[attr-defined]
        pass
    name = author.title  # type: ignore[attr-defined]
    name = (await author.profile).motto  # type: ignore[union-attr]
    assert name
    await view.Writer(1)  # type: ignore[attr-defined]
