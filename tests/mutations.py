"""Ways to break the service that its tests must notice: (file, old, new, tests that turn red)."""

from typing import NamedTuple

SRC = "src/my_service"


class Mutation(NamedTuple):
    """Replace `old`, which occurs exactly once in `file`, by `new`; then `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = [
    Mutation(
        "a route is open to everybody",
        f"{SRC}/app.py",
        'include_guarded(app, resource.router, prefix="/v1", read=read, write=write)',
        'app.include_router(resource.router, prefix="/v1")',
        "tests/test_access.py",
    ),
    Mutation(
        "reading is enough for writing",
        f"{SRC}/app.py",
        "read=read, write=write",
        "read=read, write=read",
        "tests/books",
    ),
    Mutation(
        "deleted books are listed",
        f"{SRC}/books/schemas.py",
        "columns.deleted_at.is_(None)",
        "columns.id.is_not(None)",
        "tests/books",
    ),
    Mutation(
        "what is internal is shown",
        f"{SRC}/books/schemas.py",
        "etag: UUID = Field(exclude=True)",
        "etag: UUID",
        "tests/books",
    ),
    Mutation(
        "books of deleted rows are counted",
        f"{SRC}/authors/queries.py",
        "and_(book.c.author_id == author.c.id, book.c.deleted_at.is_(None))",
        "and_(book.c.author_id == author.c.id)",
        "tests/authors",
    ),
]
