"""Relations come from the foreign keys of the tables; what none supports is an error at start."""

from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from dalkit.errors import UnknownTable
from dalkit.view import Many, Missing, Mode, One, View, ViewMismatch, ViewObject, many, one

from tests.view.fixtures import Statements
from tests.view.library import Author, Book, Invoice, Library, Line, Node, Review, Tag


async def test_several_keys_between_two_tables(origin: AsyncEngine, cache: Any) -> None:
    async with Library(origin, cache=cache) as view:
        lem, ballard = await view.Author(1), await view.Author(2)
        assert [b.id for b in await lem.books] == [1, 2, 3]
        assert [b.id for b in await ballard.edited] == [1, 3]
        assert await (await view.Book(1)).editor is ballard
    async with Library(None, cache=cache, mode=Mode.OFFLINE) as view:
        assert [b.id for b in await (await view.Author(2)).edited] == [1, 3]


async def test_a_table_that_refers_to_itself(origin: AsyncEngine, statements: Statements) -> None:
    async with Library(origin) as view:
        root = await view.Node(1)
        await statements.sent()
        (root,) = await view.load(
            Node, {"parent_id": None}, include=(Node.children, Node.children, Node.children)
        )
        assert await statements.count() == 4
        two, three = await root.children
        assert [n.id for n in await two.children] == [4]
        assert await three.children == ()
        assert await two.parent is root
        assert await root.parent is None
        assert await statements.sent() == []


async def test_a_key_of_several_columns(origin: AsyncEngine, cache: Any) -> None:
    async with Library(origin, cache=cache) as view:
        invoice = await view.Invoice(2026, "A")
        assert [line.id for line in await invoice.lines] == [10, 11]
        assert await (await view.Line(11)).invoice is invoice
        assert await (await view.Line(12)).invoice is None  # one of its columns is null
        assert await view.find(Invoice, 2026, "C") is None
        with pytest.raises(TypeError, match=r"The key of Invoice is \(year, number\)"):
            await view.Invoice(2026)
    async with Library(None, cache=cache, mode=Mode.OFFLINE) as view:
        assert [one.id for one in await (await view.Invoice(2026, "A")).lines] == [10, 11]
        assert await view.find(Invoice, 2026, "C") is None


async def test_one_to_one_from_both_sides(origin: AsyncEngine, cache: Any) -> None:
    async with Library(origin, cache=cache) as view:
        profile = await (await view.Author(1)).profile
        assert profile is not None
        assert profile.motto == "sapienti sat"
        assert await profile.author is await view.Author(1)
        key = profile.id
    async with Library(None, cache=cache, mode=Mode.OFFLINE) as view:
        assert (await view.Profile(key)) is await (await view.Author(1)).profile


async def test_many_to_many_through_a_table(
    origin: AsyncEngine, statements: Statements, cache: Any
) -> None:
    async with Library(origin, cache=cache) as view:
        fiasco = await view.Book(3)
        await statements.sent()
        assert [tag.name for tag in await fiasco.tags] == ["sad", "sf"]  # one pair is there twice
        assert [b.id for b in await (await view.Tag("sf")).books] == [1, 2, 3]
        assert await statements.count() == 2
    async with Library(None, cache=cache, mode=Mode.OFFLINE) as view:
        assert [tag.name for tag in await (await view.Book(3)).tags] == ["sad", "sf"]
        assert await (await (await view.Book(3)).tags)[1].books


async def test_across_schemas(origin: AsyncEngine, cache: Any) -> None:
    async with Library(origin, cache=cache) as view:
        reviews = await (await view.Book(1)).reviews
        assert [one.stars for one in reviews] == [5, 4]
        assert await reviews[0].book is await view.Book(1)
    async with Library(None, cache=cache, mode=Mode.OFFLINE) as view:
        assert await (await view.Review(2)).book is await view.Book(1)


async def test_a_key_that_is_not_the_primary_one(origin: AsyncEngine) -> None:
    async with Library(origin) as view:
        poland = await (await view.City(1)).country
        assert poland.id == 1
        assert [city.id for city in await poland.cities] == [1, 2]


class LongTitle(ViewObject, table="long_title", key=("id",)):
    """A row of a view."""

    id: int
    title: str


class Titles(View):
    LongTitle = LongTitle


async def test_a_view_of_the_database_has_a_declared_key(origin: AsyncEngine) -> None:
    async with Titles(origin) as view:
        assert [one.title for one in await view.load(LongTitle)] == ["Solaris"]
        assert (await view.LongTitle(1)).title == "Solaris"


async def test_a_row_that_is_not_there_although_it_is_referred_to(
    origin: AsyncEngine, db_of_library: Any
) -> None:
    async with Library(origin) as view:
        book = await view.Book(4)
        await db_of_library.execute("DELETE FROM book WHERE author_id = 2")
        await db_of_library.execute("UPDATE book SET editor_id = NULL")
        await db_of_library.execute("DELETE FROM author WHERE id = 2")
        with pytest.raises(Missing, match=r"Book.author of Book\(id=4"):
            await book.author


#: It makes classes of rows; for a type checker they would be classes of classes.
VIEW_CLASS: Any = type(ViewObject)


class Stray(ViewObject, table="book"):
    id: int
    author_id: int
    editor_id: int | None
    title: str


def relation_to(annotation: Any, value: Any) -> type[View]:
    """A view whose Stray has this relation."""
    body = {"__annotations__": {"there": annotation}, "there": value, "__module__": __name__}
    cls: Any = VIEW_CLASS("Odd", (Stray,), body)
    return type("Strays", (View,), {"Author": Author, "Book": Book, "Odd": cls, **OTHERS})


OTHERS = {name: it for name, it in Library.entities.items() if name not in ("Author", "Book")}


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (One[Author], one("title"), r"Odd.there: no foreign key leads from book.title to author. "),
        (One[Author], one("autor_id"), r"Foreign keys of book: author_id -> author, editor_id"),
        (One[Review], one("author_id"), r"no foreign key leads from book.author_id to elsewhere"),
        (Many[Review], many("elsewhere.review.id"), r"no foreign key leads from elsewhere.review"),
        (One[Author], one("editor_id"), r"there may be none: annotate it One\[Author \| None\]"),
        (One[Review | None], one("elsewhere.review.book_id"), "is not unique: .* use many"),
        (Many[Author], many("author_id"), r'name the table, too: many\("table.author_id"\)'),
        (Many[Tag], many("tagging.book_id"), "tagging is not the table of Tag: .* to="),
        (Many[Line], many("tagging.book_id", to="tag"), "no foreign key leads from tagging.tag"),
        (One["Author | Book"], one("author_id"), "annotate it Many"),
        (One[ViewObject], one("author_id"), "the view has no class ViewObject"),
    ],
)
async def test_a_relation_that_no_key_supports_is_an_error_at_start(
    origin: AsyncEngine, annotation: Any, value: Any, message: str
) -> None:
    with pytest.raises(ViewMismatch, match=message):
        async with relation_to(annotation, value)(origin):
            pass


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": int, "titel": str}, "Odd.titel: no column 'titel' in book. Columns: id, title"),
        ({"title": str}, "Odd: declare id, of its key"),
        ({"id": int, "editor_id": int}, r"Odd.editor_id: .* may be NULL"),
        ({"id": int, "title": int}, r"Odd.title is int, but column book.title is"),
    ],
)
async def test_a_field_that_does_not_fit_is_an_error_at_start(
    origin: AsyncEngine, fields: dict[str, Any], message: str
) -> None:
    body = {"__annotations__": fields, "__module__": __name__}
    cls: Any = VIEW_CLASS("Odd", (ViewObject,), body, table="book")
    with pytest.raises(ViewMismatch, match=message):
        async with type("Odds", (View,), {"Odd": cls})(origin):
            pass


async def test_an_unknown_table_is_an_error_at_start(origin: AsyncEngine) -> None:
    class Bok(ViewObject, table="bok"):
        id: int

    with pytest.raises(UnknownTable, match="Did you mean 'book'"):
        async with type("Boks", (View,), {"Bok": Bok})(origin):
            pass


async def test_a_view_object_is_frozen(origin: AsyncEngine) -> None:
    async with Library(origin) as view:
        book = await view.Book(1)
        with pytest.raises(AttributeError, match=r"Book\.title cannot be set"):
            book.title = "Other"
        with pytest.raises(AttributeError):
            setattr(book, "other", 1)  # noqa: B010
        with pytest.raises(AttributeError, match="cannot be deleted"):
            del book.title
        assert not hasattr(book, "__dict__")
        assert repr(book) == "Book(id=1, title='Solaris', author_id=1, editor_id=2)"
    with pytest.raises(TypeError, match=r"come from a view: await view.Book"):
        _ = Book(1)


def test_a_field_has_no_value() -> None:
    with pytest.raises(TypeError, match=r"Odd.title has a value"):
        VIEW_CLASS("Odd", (ViewObject,), {"__annotations__": {"title": str}, "title": "x"})
