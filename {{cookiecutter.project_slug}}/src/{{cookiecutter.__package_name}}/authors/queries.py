"""Values to statements; nothing is sent from here."""

from typing import Any

from sqlalchemy import BigInteger, Select, Table, and_, func, select, type_coerce


def authors_with_books(author: Table, book: Table) -> Select[Any]:
    """Every author with the number of books that are not deleted."""
    is_listed = and_(book.c.author_id == author.c.id, book.c.deleted_at.is_(None))
    # count() is a bigint in PostgreSQL, but an Integer to SQLAlchemy, which would cast values so.
    number_of_books = type_coerce(func.count(book.c.id), BigInteger)
    return (
        select(author.c.id, author.c.name, number_of_books.label("number_of_books"))
        .join_from(author, book, is_listed, isouter=True)
        .group_by(author.c.id)
    )
