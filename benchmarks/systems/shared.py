"""What the hand-written systems have in common: the pool's size, the columns, the links."""

import os
from collections.abc import Iterable
from urllib.parse import parse_qsl, urlencode

DATABASE_URL = os.environ.get("DATABASE_URL", "")
POOL_SIZE = int(os.environ.get("DATABASE_POOL_SIZE", "10"))
COLUMNS = "id, code, name, quantity, weight, category, active, created_at"
WRITTEN = "code, name, quantity, weight, category, active, created_at"

SELECT_ONE = f"SELECT {COLUMNS} FROM item WHERE id = $1"
WHERE = "FROM item WHERE category = $1 AND quantity >= $2"
SELECT_PAGE = f"SELECT {COLUMNS} {WHERE} ORDER BY id DESC LIMIT $3 OFFSET $4"
SELECT_COUNT = f"SELECT count(*) {WHERE}"
#: A statement that holds a connection for a while, as a report does.
SLEEP = "SELECT 'slept' FROM pg_sleep(0.05)"
INSERT = f"INSERT INTO item ({WRITTEN}) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {COLUMNS}"


def links(
    path: str, query: str, limit: int, offset: int, more: bool, total: int | None
) -> dict[str, str | None]:
    """Return the members of a page that lead to its neighbours; past the end, to the last one."""
    kept = [(name, value) for name, value in parse_qsl(query) if name != "offset"]
    before = max(0, min(offset, offset if total is None else total) - limit)
    return {
        "next_url": _link(path, kept, offset + limit) if more else None,
        "prev_url": _link(path, kept, before) if offset else None,
    }


def _link(path: str, kept: Iterable[tuple[str, str]], offset: int) -> str:
    added = [("offset", str(offset))] if offset else []
    return f"{path}?{urlencode([*kept, *added])}"
