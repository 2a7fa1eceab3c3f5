"""Pages by limit and offset."""

from ..fast.fastpath import Row
from .links import with_parameters
from .listing import Listing
from .query import QueryModel


async def offset_page(listing: Listing, query: QueryModel, url: str) -> dict[str, object]:
    """The members of a Page. The total is right past the last page, too."""
    rows = await listing.rows(("offset",), None, listing.keys())
    results, more = rows[: query.limit], len(rows) > query.limit
    seen = query.offset + len(rows)
    total = await _total(listing, query, rows, seen, more) if query.count == "exact" else None
    following = query.offset + query.limit
    before = max(0, min(query.offset, seen if total is None else total) - query.limit)
    return {
        "results": results,
        "total_count": total,
        "next_url": with_parameters(url, {"offset": following}) if more else None,
        "prev_url": with_parameters(url, {"offset": before or None}) if query.offset else None,
    }


async def _total(
    listing: Listing, query: QueryModel, rows: list[Row], seen: int, more: bool
) -> int:
    """The last page tells the total by itself; other pages need a count."""
    if not more and (rows or not query.offset):
        return seen
    return max(await listing.count(), seen if rows else 0)
