"""Pages by cursor (keyset pages)."""

from collections.abc import Sequence

from fastapi.exceptions import RequestValidationError

from ..fast.fastpath import Row
from .cursor import BadCursor, Cursor
from .links import with_parameters
from .listing import Listing
from .ordering import Key, after
from .query import KeysetQueryModel


async def cursor_page(listing: Listing, query: KeysetQueryModel, url: str) -> dict[str, object]:
    """The members of a Page. Raises RequestValidationError for another ordering's cursor."""
    keys = listing.keys()
    cursor = _decode(query.cursor, keys, listing.ordering)
    rows = await _rows(listing, keys, cursor)
    more, results = len(rows) > query.limit, rows[: query.limit]
    if backward := cursor is not None and cursor.backward:
        results.reverse()
    has_next, has_prev = (True, more) if backward else (more, cursor is not None)

    def link(row: Row, *, to_previous: bool) -> str:
        there = Cursor(tuple(row[key.name] for key in keys), to_previous)
        return with_parameters(url, {"cursor": there.encode(keys, listing.ordering)})

    return {
        "results": results,
        "total_count": await listing.count() if query.count == "exact" else None,
        "next_url": link(results[-1], to_previous=False) if results and has_next else None,
        "prev_url": link(results[0], to_previous=True) if results and has_prev else None,
    }


async def _rows(listing: Listing, keys: Sequence[Key], cursor: Cursor | None) -> list[Row]:
    if cursor is None:
        return await listing.rows(("first",), None, keys)
    order = [key.reversed() for key in keys] if cursor.backward else keys
    nulls = tuple(value is None for value in cursor.values)
    bound = {f"k{i}": value for i, value in enumerate(cursor.values) if value is not None}
    return await listing.rows(
        ("after", cursor.backward, nulls), lambda: after(order, nulls), order, bound
    )


def _decode(text: str | None, keys: Sequence[Key], ordering: str) -> Cursor | None:
    try:
        return None if text is None else Cursor.decode(text, keys, ordering)
    except BadCursor:
        message = "Not a cursor of this ordering"
        error = {"type": "cursor", "loc": ("query", "cursor"), "msg": message}
        raise RequestValidationError([error]) from None
