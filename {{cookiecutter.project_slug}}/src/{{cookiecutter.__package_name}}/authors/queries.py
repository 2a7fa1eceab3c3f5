"""Values to statements; nothing is sent from here."""

from typing import Any

from sqlalchemy import Select, Table, and_, func, select


def authors_with_books(author: Table, book: Table) -> Select[Any]:
    """Every author with the number of books that are not deleted."""
    is_listed = and_(book.c.author_id == author.c.id, book.c.deleted_at.is_(None))
    return (
        select(author.c.id, author.c.name, func.count(book.c.id).label("number_of_books"))
        .join_from(author, book, is_listed, isouter=True)
        .group_by(author.c.id)
    )
