"""The database's tables, typed: written by `db tables`, compared by alembic.

To change the schema: edit a class, run `alembic revision --autogenerate -m "..."`, read and correct
the migration, upgrade, and run `db tables` again. A class types a reflected table as well:
`dal.get_table("name").with_cols(NameColumns)`; for a view that is its only use.
"""

import datetime as dt
from decimal import Decimal
from uuid import UUID

import sqlalchemy as sa
from dalkit.schema import NAMING_CONVENTION
from sqlalchemy.dialects import postgresql as pg

metadata = sa.MetaData(naming_convention=NAMING_CONVENTION, info={"revision": "0001"})


class AuthorColumns(sa.TypedColumns):
    """Columns of author."""

    id: sa.Named[int] = sa.Column(pg.BIGINT(), sa.Identity(always=True), primary_key=True)
    name: sa.Named[str] = sa.Column(pg.TEXT())
    created_at: sa.Named[dt.datetime] = sa.Column(
        pg.TIMESTAMP(timezone=True), server_default=sa.text("now()")
    )


author = sa.Table(
    "author", metadata, AuthorColumns, sa.UniqueConstraint("name", name="uq_author_name")
)


class BookColumns(sa.TypedColumns):
    """Columns of book."""

    id: sa.Named[int] = sa.Column(pg.BIGINT(), sa.Identity(always=True), primary_key=True)
    catalog: sa.Named[str] = sa.Column(pg.TEXT())
    title: sa.Named[str] = sa.Column(pg.TEXT())
    author_id: sa.Named[int] = sa.Column(pg.BIGINT())
    published: sa.Named[dt.date | None] = sa.Column(pg.DATE())
    price: sa.Named[Decimal | None] = sa.Column(pg.NUMERIC(precision=10, scale=2))
    etag: sa.Named[UUID] = sa.Column(pg.UUID(), server_default=sa.text("gen_random_uuid()"))
    deleted_at: sa.Named[dt.datetime | None] = sa.Column(pg.TIMESTAMP(timezone=True))
    created_at: sa.Named[dt.datetime] = sa.Column(
        pg.TIMESTAMP(timezone=True), server_default=sa.text("now()")
    )
    updated_at: sa.Named[dt.datetime] = sa.Column(
        pg.TIMESTAMP(timezone=True), server_default=sa.text("now()")
    )


book = sa.Table(
    "book",
    metadata,
    BookColumns,
    sa.ForeignKeyConstraint(["author_id"], ["author.id"], name="fk_book_author_id_author"),
    sa.UniqueConstraint("catalog", name="uq_book_catalog"),
    sa.CheckConstraint(
        "price >= 0::numeric AND price < 'Infinity'::numeric",
        name=sa.schema.conv("ck_book_price_not_negative"),
    ),
    sa.CheckConstraint(
        "published >= '0001-01-02'::date AND published <= '9999-12-30'::date",
        name=sa.schema.conv("ck_book_published_in_calendar"),
    ),
    sa.Index("ix_book_author_id", "author_id"),
    sa.Index("ix_book_title_id", "title", "id", postgresql_where=sa.text("(deleted_at IS NULL)")),
)


class AuthorWithBooksColumns(sa.TypedColumns):
    """Columns of author_with_books."""

    author_id: sa.Named[int | None] = sa.Column(pg.BIGINT())
    name: sa.Named[str | None] = sa.Column(pg.TEXT())
    books: sa.Named[int | None] = sa.Column(pg.BIGINT())
