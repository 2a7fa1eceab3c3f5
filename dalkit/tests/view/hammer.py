"""A process that hammers a cache: python -m tests.view.hammer URL CACHE LOG STOP WHAT."""

import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

from dalkit.view import Missing, Mode
from dalkit.view.rows import Rows
from dalkit.view.sets import Sets

from tests.view.library import Author, Book, Library

FRESH_FOR = 1.0
AUTHORS = 40


def main() -> None:
    """Do so until the file STOP is there.

    A line of the log is a load of the origin: process, kind, time and keys.
    """
    url, cache, log, stop, what = sys.argv[1:]
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for kind in (Rows, Sets):
        log_loads(kind, descriptor)
    asyncio.run(hammer(url, cache, Path(stop), what))


def log_loads(kind: Any, descriptor: int) -> None:
    """Write a line for each load."""
    ask_origin = kind.ask_origin

    async def logged(self: Any, keys: list[Any]) -> None:
        name = self.entity.__name__ if kind is Rows else self.relation
        line = [os.getpid(), name, time.time(), keys]
        os.write(descriptor, (json.dumps(line) + "\n").encode())
        await ask_origin(self, keys)

    kind.ask_origin = logged


async def hammer(url: str, cache: str, stop: Path, what: str) -> None:
    """Load at random, in view after view, and look at what comes."""
    mode = Mode.PREFER_CACHE if what == "load" else Mode.ONLINE
    while not await asyncio.to_thread(stop.exists):
        async with Library(url, cache=cache, mode=mode, fresh_for=FRESH_FOR) as view:
            for _ in range(10):
                await look(view)
            if what == "refresh":
                await view.refresh_all()


async def look(view: Library) -> None:
    """Load a few authors and their books at once, and check each of them."""
    keys = random.sample(range(1, AUTHORS + 1), 5)
    authors = await asyncio.gather(*[view.Author(key) for key in keys])
    for author, books in zip(
        authors, await asyncio.gather(*[one.books for one in authors]), strict=True
    ):
        assert author.born is not None, author
        assert author.name == str(author.born.toordinal()), author
        for book in books:
            assert book.title == f"by {book.author_id}", book
            if book.author_id != author.id:  # it moved while the others were loading
                assert book not in await author.books, (book, author)
    try:
        await view.Book(random.randint(1, 3 * AUTHORS))
    except Missing:
        pass
    await view.load(Book, {"author_id": random.choice(keys)}, include=(Book.author, Author.books))


if __name__ == "__main__":
    main()
