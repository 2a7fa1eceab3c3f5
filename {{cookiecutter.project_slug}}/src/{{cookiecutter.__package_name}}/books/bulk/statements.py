"""The statements of the bulk routes."""

from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Insert,
    Select,
    String,
    Table,
    Text,
    cast,
    func,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import distinct_on, insert

#: The columns of a file: the table's own, with its rules, ...
COLUMNS = ("author_id",)
#: ... and those with the rules of BookCreate, which the table does not have.
UPLOAD: tuple[Column[Any], ...] = (
    Column("catalog", String(64), CheckConstraint("catalog <> ''"), nullable=False),
    Column("title", String(200), CheckConstraint("title <> ''"), nullable=False),
    # As text: PostgreSQL would take "now", 01/02/2003 and 0.005 for a date and a price.
    Column(
        "published",
        Text,
        CheckConstraint(
            # A cast would fail on 2026-02-30, and COPY would not name the column: count from day 1.
            r"CASE WHEN published ~ '^(?!0000)\d{4}-(0[1-9]|1[0-2])-\d\d$' THEN published = "
            "to_char((left(published, 8) || '01')::date + right(published, 2)::int - 1, "
            "'YYYY-MM-DD') AND published NOT IN ('0001-01-01', '9999-12-31') "
            "ELSE published IS NULL END"
        ),
    ),
    Column("price", Text, CheckConstraint(r"price ~ '^\d{1,8}(\.\d{1,2})?$'")),
)

NAMES = ("catalog", "title", "author_id", "published", "price")


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
