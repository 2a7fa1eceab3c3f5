"""Models over reflected tables, mapped on those of a data access layer."""

import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest
from sqlalchemy import func, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, relationship, selectinload

from dalkit import DataAccessLayer, EntityMismatch, NotReflected
from dalkit.entities import check_entities
from dalkit.orm import Base
from dalkit.orm import reflected as implementation

TABLES = """
CREATE TABLE tag (id int PRIMARY KEY, word text UNIQUE);
CREATE TABLE book_tag (
    book_id bigint REFERENCES book, tag_id int REFERENCES tag, PRIMARY KEY (book_id, tag_id)
);
CREATE TABLE keyless (n int);
"""


@pytest.fixture(autouse=True)
def _forget_models() -> Iterator[None]:
    """Let a test have no other models than its own: two of one name would be ambiguous."""
    before = dict(implementation._models)
    _clear()
    yield
    _clear()
    implementation._models.update(before)


def _clear() -> None:
    implementation._dispose_of_all_but([])
    for one in implementation._models.values():
        one.reflection = None
    implementation._models.clear()
    implementation._seen.clear()


@pytest.fixture
async def dal(fresh_database: str) -> AsyncIterator[DataAccessLayer]:
    """A database whose schema the test changes."""
    async with DataAccessLayer.connect(fresh_database) as it:
        await change(it, TABLES)
        yield it


async def change(dal: DataAccessLayer, statements: str) -> None:
    """Change the schema, and reflect it."""
    async with dal.transaction() as tx:
        await (await tx.get_dbapi_connection()).execute(statements)
    await dal.refresh()


def models() -> tuple[Any, Any]:
    """Author and Book, defined after the tables were reflected."""

    class Author(Base.reflected):
        __tablename__ = "author"

        id: Mapped[int]
        name: Mapped[str]
        books: Mapped[list["Book"]] = relationship(back_populates="author", order_by="Book.id")

        def shout(self) -> str:
            return self.name.upper()

    class Book(Base.reflected):
        __tablename__ = "book"

        author: Mapped[Author] = relationship(back_populates="books")
        tags: Mapped[list["Tag"]] = relationship(secondary="book_tag")

    class Tag(Base.reflected):
        __tablename__ = "tag"

    return Author, Book


async def test_columns_come_from_the_tables_of_the_data_access_layer(dal: DataAccessLayer) -> None:
    author, book = models()
    async with dal.session() as session:
        lem, created = await author.get_or_create(session, name="Lem")
        session.add(book(catalog="SL-1", title="Solaris", author=lem))
    assert created
    assert book.__table__ is dal.get_table("book")
    async with dal.session() as session:
        found = (await session.scalars(select(author).options(selectinload(author.books)))).one()
        assert (found.shout(), [one.title for one in found.books]) == ("LEM", ["Solaris"])
        assert await (await book.get_one(session, title="Solaris")).awaitable_attrs.tags == []


async def test_models_and_tables_are_joined(dal: DataAccessLayer) -> None:
    author, _ = models()
    async with dal.transaction() as tx:
        await author.get_or_create(tx.session, name="Lem")
        table = tx.get_table("book")
        joined = (
            select(author.name, func.count(table.c.id))
            .outerjoin(table, table.c.author_id == author.id)
            .group_by(author.name)
        )
        assert (await tx.session.execute(joined)).all() == [("Lem", 0)]


async def test_a_migration_is_followed_by_refresh(dal: DataAccessLayer) -> None:
    author, _ = models()
    async with dal.session() as session:
        await author.get_or_create(session, name="Lem")
    await change(dal, "ALTER TABLE author ADD born int")
    async with dal.session() as session:
        lem = await author.get_one(session, name="Lem")
        lem.born = 1921
    assert author.__table__ is dal.get_table("author")
    await change(dal, "ALTER TABLE author DROP born")
    async with dal.session() as session:
        assert not hasattr(await author.get_one(session, name="Lem"), "born")


async def test_objects_that_are_in_use_live_through_a_refresh(dal: DataAccessLayer) -> None:
    author, book = models()
    async with dal.session() as session:
        session.add(author(name="Lem", books=[book(catalog="SL-1", title="Solaris")]))
    async with dal.session() as session:
        lem = await author.get_one(session, name="Lem")
        changed, new = await author.get_one(session, name="Lem"), author(name="Dick")
        changed.name = "Stanislaw Lem"
        session.add(new)
        await dal.refresh()
        assert [one.title for one in await lem.awaitable_attrs.books] == ["Solaris"]
        lem.books[0].title = "The Invincible"
        session.add(book(catalog="PD-1", title="Ubik", author=new))
        assert await author.get_one(session, name="Dick") is new
        await session.delete(lem.books[0])
    async with dal.session() as session:
        names = await session.scalars(select(author.name).order_by(author.name))
        assert names.all() == ["Dick", "Stanislaw Lem"]
        assert (await session.scalars(select(book.title))).all() == ["Ubik"]


async def test_a_refresh_leaves_nothing_of_the_mapping_before(dal: DataAccessLayer) -> None:
    author, _ = models()
    for _ in range(2):
        async with dal.session() as session:
            await session.scalars(select(author).options(selectinload(author.books)))
        mapper = weakref.ref(inspect(author))
        await dal.refresh()
        dal.engine.clear_compiled_cache()
        gc.collect()
        assert mapper() is None


async def test_a_model_belongs_to_the_first_that_has_its_table(
    dal: DataAccessLayer, fresh_database: str
) -> None:
    author, _ = models()
    async with dal.session() as session:
        await author.get_or_create(session, name="Lem")
    async with DataAccessLayer.connect(fresh_database) as other, other.session() as session:
        assert (await author.get_one(session, name="Lem")).name == "Lem"
        assert author.__table__ is dal.get_table("author")


async def test_what_does_not_fit_is_a_sentence_of_the_startup_check(dal: DataAccessLayer) -> None:
    class Missing(Base.reflected):
        __tablename__ = "bok"

    class Typo(Base.reflected):
        __tablename__ = "book"
        titel: Mapped[str]

    class Keyless(Base.reflected):
        __tablename__ = "keyless"

    with pytest.raises(EntityMismatch) as raised:
        check_entities(dal, (Missing, Typo, Keyless))
    sentences = raised.value.problems
    assert sentences[0].startswith("Missing: No table 'bok'. Did you mean 'book'")
    assert sentences[1].startswith("Typo: No column 'titel' in book. Did you mean 'title'?")
    assert "could not assemble any primary key columns" in sentences[2]
    with pytest.raises(NotReflected, match="The model Missing"):
        Missing()


async def test_a_relationship_that_leads_nowhere_is_a_sentence(dal: DataAccessLayer) -> None:
    class Lonely(Base.reflected):
        __tablename__ = "tag"
        friends: Mapped[list["Nobody"]] = relationship()  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(EntityMismatch, match=r"Lonely: .*failed to locate a name \('Nobody'\)"):
        check_entities(dal, (Lonely,))


async def test_a_model_that_fits_passes_the_startup_check(dal: DataAccessLayer) -> None:
    check_entities(dal, models())


async def test_a_model_is_mapped_when_its_table_comes(dal: DataAccessLayer) -> None:
    class Later(Base.reflected):
        __tablename__ = "later"
        id: Mapped[int]

    async with dal.session() as session:
        with pytest.raises(SQLAlchemyError):
            await Later.get_by_pk(session, 1)
    await change(dal, "CREATE TABLE later (id int PRIMARY KEY)")
    async with dal.session() as session:
        assert await Later.get_by_pk(session, 1) is None


async def test_models_inherit(dal: DataAccessLayer) -> None:
    class Own(Base.reflected):
        __abstract__ = True
        id: Mapped[int]

    class Tag(Own):
        __tablename__ = "tag"
        __mapper_args__ = {"polymorphic_on": "word", "polymorphic_identity": "tag"}  # noqa: RUF012

    class Special(Tag):
        __mapper_args__ = {"polymorphic_identity": "special"}  # noqa: RUF012

    async with dal.session() as session:
        session.add_all([Tag(id=1), Special(id=2)])
    await dal.refresh()
    async with dal.session() as session:
        found = (await session.scalars(select(Tag).order_by(Tag.id))).all()
        assert [type(one) for one in found] == [Tag, Special]


async def test_a_reflected_model_is_not_in_the_metadata_of_declared_ones(
    dal: DataAccessLayer,
) -> None:
    author, _ = models()
    async with dal.session() as session:
        await session.execute(select(author))
    assert not {"author", "book", "tag"} & Base.metadata.tables.keys()
    assert cast(Any, inspect(author)).local_table.metadata is not Base.metadata


async def test_the_generated_values_of_a_table_are_read_back(dal: DataAccessLayer) -> None:
    author, book = models()
    async with dal.session() as session:
        one = book(catalog="SL-1", title="Solaris", author=author(name="Lem"))
        session.add(one)
        await session.flush()
        assert one.id > 0
        assert one.etag is not None
        assert one.created_at == await session.scalar(text("SELECT now()"))
