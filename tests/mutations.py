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
        "a client error is committed",
        f"{SRC}/db/middleware.py",
        "finish(commit=status < 400, over=OVER)",
        "finish(commit=status < 500, over=OVER)",
        "tests/db/test_request_path.py",
    ),
    Mutation(
        "commit and rollback are swapped",
        f"{SRC}/db/request.py",
        "DeferredTransaction.commit(self) if commit else DeferredTransaction.rollback(self)",
        "DeferredTransaction.rollback(self) if commit else DeferredTransaction.commit(self)",
        "tests/db/test_request_path.py",
    ),
    Mutation(
        "the response leaves before COMMIT has answered",
        f"{SRC}/db/middleware.py",
        """            await self._decide(message["status"])
            self._started = True
""",
        """            await self._send(message)
            await self._decide(message["status"])
            self._started = True
            return
""",
        "tests/db/test_request_path.py",
    ),
    Mutation(
        "a page has no upper bound",
        f"{SRC}/db/paging/query.py",
        "Field(ge=1, le=100, description",
        "Field(ge=1, description",
        "tests/books/test_books.py",
    ),
    Mutation(
        "a stale ETag is accepted",
        f"{SRC}/preconditions.py",
        "elif is_stale(if_match, quoted(etag)):",
        "elif not if_match:",
        "tests/books/test_books.py",
    ),
    Mutation(
        "a deleted book is found",
        f"{SRC}/books/router.py",
        "if book.deleted_at is not None:",
        "if book.deleted_at is not None and tx is None:",
        "tests/books/test_books.py",
    ),
    Mutation(
        "a token for another API is accepted",
        f"{SRC}/auth/token.py",
        '"enforce_minimum_key_length": True}',
        '"enforce_minimum_key_length": True, "verify_aud": False}',
        "tests/auth/test_hostile_tokens.py",
    ),
    Mutation(
        "a route is open to everybody",
        f"{SRC}/app.py",
        'books.writes, prefix="/v1", dependencies=writes',
        'books.writes, prefix="/v1"',
        "tests/auth/test_deny_by_default.py",
    ),
]
