"""The statements of the bulk routes."""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Insert,
    Select,
    Table,
    cast,
    func,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import distinct_on, insert

from tests.service.books.bulk.columns import UPLOAD

NAMES = tuple(column.name for column in UPLOAD)


def exported_books(book: Table) -> Select[Any]:
    """The books that are not deleted, with the columns that can be uploaded."""
    return (
        select(*(book.c[name] for name in NAMES))
        .where(book.c.deleted_at.is_(None))
        .order_by(book.c.id)
    )


def upsert_books(staging: Table, book: Table) -> Insert:
    """Insert the staged books, or change the ones that have their `catalog` already.

    The last of several rows with one `catalog` counts: ON CONFLICT may meet a row only once.
    """
    values = (cast(staging.c[name], book.c[name].type).label(name) for name in NAMES)
    staged = (
        select(*values)
        .ext(distinct_on(staging.c.catalog))
        .order_by(staging.c.catalog, literal_column("ctid").desc())
    )
    new = insert(book).from_select(NAMES, staged)
    changed = {name: new.excluded[name] for name in NAMES[1:]}
    before, after = (
        tuple_(*(columns[name] for name in changed)) for columns in (book.c, new.excluded)
    )
    return new.on_conflict_do_update(
        index_elements=[book.c.catalog],
        set_=changed | {"etag": func.gen_random_uuid(), "updated_at": func.now()},
        where=book.c.deleted_at.is_(None) & before.is_distinct_from(after),
    )


def record_without_author(staging: Table, author: Table) -> Select[Any]:
    """The number, from 1, of the first staged record whose author is missing; 0 for none."""
    place: ColumnElement[Any] = literal_column("ctid")
    known = select(author.c.id).where(author.c.id == cast(staging.c.author_id, author.c.id.type))
    first = select(func.min(place)).select_from(staging).where(~known.exists()).scalar_subquery()
    return select(func.count()).select_from(staging).where(place <= first)
