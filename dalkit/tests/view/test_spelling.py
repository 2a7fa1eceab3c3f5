"""Keys that PostgreSQL calls equal although they are spelt otherwise."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from dalkit.view import Many, Missing, Mode, One, View, ViewObject, many, one

from tests.view.fixtures import Statements


class Language(ViewObject, table="spelling.language"):
    """What a word is of."""

    code: str
    words: Many["Word"] = many("spelling.word.code")


class Word(ViewObject, table="spelling.word"):
    """A word."""

    id: int
    code: str
    language: One[Language] = one("code")


class Languages(View):
    """Both."""

    Language = Language
    Word = Word


#: The types of the key and of what refers to it, what these need, and two spellings.
KINDS = {
    "char": ("char(8)", "char(4)", "SELECT 1", "pl      ", "pl"),
    "citext": ("citext", "citext", "CREATE EXTENSION citext SCHEMA public", "pl", "PL"),
}


@pytest.fixture(params=list(KINDS))
async def kind(
    request: pytest.FixtureRequest, db_of_library: asyncpg.Connection
) -> AsyncIterator[str]:
    """One of them, with its tables and rows."""
    key, reference, needed, own, other = KINDS[request.param]
    await db_of_library.execute("CREATE SCHEMA spelling")
    try:
        try:
            await db_of_library.execute(needed)
        except asyncpg.FeatureNotSupportedError as error:  # PostgreSQL without its contrib modules
            pytest.skip(f"The server has no citext: {error}")
        await db_of_library.execute(
            f"CREATE TABLE spelling.language (code {key} PRIMARY KEY);"
            f"CREATE TABLE spelling.word (id int PRIMARY KEY, code {reference} NOT NULL,"
            " FOREIGN KEY (code) REFERENCES spelling.language);"
            f"INSERT INTO spelling.language VALUES ('{own}'), ('de');"
            f"INSERT INTO spelling.word VALUES (1, '{own.strip()}'), (2, '{other}'), (3, 'de')"
        )
        yield request.param
    finally:
        await db_of_library.execute("DROP SCHEMA spelling CASCADE")
        await db_of_library.execute("DROP EXTENSION IF EXISTS citext")


async def test_a_row_is_found_by_any_spelling_of_its_key(
    origin: AsyncEngine, statements: Statements, kind: str, file: str
) -> None:
    *_, own, other = KINDS[kind]
    async with Languages(origin, cache=file) as view:
        words = await view.load(Word)
        await statements.sent()
        polish, again, german = await asyncio.gather(*[word.language for word in words])
        assert polish is again is not german
        assert polish.code == own
        assert await view.Language(other) is polish
        assert [word.id for word in await polish.words] == [1, 2]
        assert [word.id for word in await german.words] == [3]
        sent = [one for one in await statements.sent() if "spelling" in one]
        assert len(sent) == 3 + (kind == "char")  # whose `other` is a third spelling
        with pytest.raises(Missing):
            await view.Language("xx")
        await view.refresh(polish)
        assert [word.id for word in await polish.words] == [1, 2]
    async with Languages(None, cache=file, mode=Mode.OFFLINE) as view:
        polish = await view.Language(own)
        assert [word.id for word in await polish.words] == [1, 2]
    async with Languages(origin, cache=file, mode=Mode.PREFER_CACHE) as view:
        assert await (await view.Word(2)).language is await view.Language(own)


async def test_refresh_all_leaves_them_as_they_are(
    origin: AsyncEngine, kind: str, file: str
) -> None:
    *_, own, _ = KINDS[kind]
    async with Languages(origin, cache=file) as view:
        words = await view.load(Word, include=(Word.language, Language.words))
        counts = await view.refresh_all()
        assert (counts.same, counts.changed, counts.gone, counts.failed) == (5, 0, 0, 0)
        assert len(await (await words[1].language).words) == 2
    async with Languages(None, cache=file, mode=Mode.OFFLINE) as view:
        assert len(await (await view.Language(own)).words) == 2
