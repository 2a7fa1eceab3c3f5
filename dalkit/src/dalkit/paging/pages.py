"""Pages of results, as a query model asks for them, with links to their neighbours."""

from collections import Counter
from collections.abc import Mapping
from functools import cache
from string import punctuation
from typing import Any, Generic, NamedTuple, TypeVar, get_args, get_origin
from urllib.parse import quote, unquote_plus, urlencode, urlsplit

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy import BigInteger, ColumnElement, FromClause, Select, Table, bindparam, func, select
from starlette.requests import HTTPConnection

from ..data.statements import (
    Conditions,
    Shape,
    Where,
    cached_per_table,
    column_names,
    columns_for,
    conditions_on,
)
from ..data.transaction import TransactionManager
from ..fast.fastpath import Row
from .keyset import BadCursor, Cursor, Key, after
from .query import DeclaredFilter, FilterModel, KeysetQueryModel, QueryModel

M = TypeVar("M", bound=BaseModel)


class Page(BaseModel, Generic[M]):
    """Results of a list endpoint and the way to its other pages."""

    results: list[M]
    total_count: int | None = Field(description="The number of all results; null if not asked for")
    next_url: str | None
    prev_url: str | None


async def page(
    tx: TransactionManager,
    model: type[M],
    query: FilterModel,
    request: HTTPConnection | str,
    source: Table | Select[Any],
    where: Where = None,
) -> Page[M]:
    """One page of the rows of a table or of any statement, as `model`.

    The query's columns are those of `source`. Links are the URL of `request` (or this URL) with
    other parameters, as a relative reference: no Host header has a part in it. Raises
    RequestValidationError for a repeated parameter that takes one value, and for a cursor that is
    not of this ordering.
    """
    url = relative_reference(request)
    _refuse_repeated(type(query), url)
    if not isinstance(query, QueryModel | KeysetQueryModel):
        raise TypeError(f"{type(query).__name__} must be a QueryModel or a KeysetQueryModel.")
    filters, parameters = query.given()
    conditions = Conditions.of(where)
    listing = _Listing(
        tx,
        model,
        source if isinstance(source, Table) else source.subquery("listed"),
        (type(query), filters, conditions.shape),
        getattr(query, "order_by", ""),
        query.limit,
        parameters | conditions.params,
    )
    members = await (
        _cursor_page(listing, query, url)
        if isinstance(query, KeysetQueryModel)
        else _offset_page(listing, query, url)
    )
    return _page_of(model).model_validate(members)


@cache
def _page_of(model: type[M]) -> type[Page[M]]:
    return Page[model]  # type: ignore[valid-type]


async def _offset_page(listing: "_Listing", query: QueryModel, url: str) -> dict[str, object]:
    """The members of a Page. The total is right past the last page, too."""
    rows = await listing.rows({"offset": query.offset})
    results, more, seen = rows[: query.limit], len(rows) > query.limit, query.offset + len(rows)
    total = None
    if query.count == "exact":
        # The last page tells the total by itself; other pages need a count.
        is_last = not more and (rows or not query.offset)
        total = seen if is_last else max(await listing.total(), seen if rows else 0)
    before = max(0, min(query.offset, seen if total is None else total) - query.limit)
    following = query.offset + query.limit
    return {
        "results": results,
        "total_count": total,
        "next_url": with_parameters(url, {"offset": following}) if more else None,
        "prev_url": with_parameters(url, {"offset": before or None}) if query.offset else None,
    }


async def _cursor_page(listing: "_Listing", query: KeysetQueryModel, url: str) -> dict[str, object]:
    """The members of a Page. Raises RequestValidationError for another ordering's cursor."""
    ordering = f"{type(query).__name__} {listing.order_by}"
    keys = _keys(listing.source, type(query), listing.order_by)
    try:
        cursor = None if query.cursor is None else Cursor.decode(query.cursor, keys, ordering)
    except BadCursor as bad:
        error = {"type": "cursor", "msg": "Not a cursor of this ordering"}
        raise RequestValidationError([error | {"loc": ("query", "cursor")}]) from bad
    rows = await listing.rows({}, cursor)
    more, results = len(rows) > query.limit, rows[: query.limit]
    if backward := cursor is not None and cursor.backward:
        results.reverse()
    has_next, has_prev = (True, more) if backward else (more, cursor is not None)

    def link(row: Row, *, to_previous: bool) -> str:
        there = Cursor(tuple(row[key.name] for key in keys), to_previous)
        return with_parameters(url, {"cursor": there.encode(keys, ordering)})

    return {
        "results": results,
        "total_count": await listing.total() if query.count == "exact" else None,
        "next_url": link(results[-1], to_previous=False) if results and has_next else None,
        "prev_url": link(results[0], to_previous=True) if results and has_prev else None,
    }


#: Which rows a query asks for, without the values: what its statements are made of.
_Asked = tuple[type[FilterModel], tuple[DeclaredFilter, ...], Shape]


class _Listing(NamedTuple):
    """The rows of a table or of a statement that a query asks for."""

    tx: TransactionManager
    model: type[BaseModel]
    source: FromClause
    asked: _Asked
    order_by: str
    limit: int
    parameters: dict[str, Any]

    async def rows(self, parameters: dict[str, Any], cursor: Cursor | None = None) -> list[Row]:
        """The rows of a page in their order (backward: reversed), and one more if there is one."""
        start = None
        if cursor is not None:
            start = cursor.backward, tuple(value is None for value in cursor.values)
            parameters |= {f"k{i}": v for i, v in enumerate(cursor.values) if v is not None}
        statement = _select_page(self.source, self.asked, self.model, self.order_by, start)
        limit = {"limit": self.limit + 1}
        return await self.tx.fetch_all(statement, self.parameters | parameters | limit)

    async def total(self) -> int:
        """The number of all rows. A window count would cost three times the page."""
        statement = _select_count(self.source, self.asked)
        return int(await self.tx.fetch_value(statement, self.parameters))


@cached_per_table
def _keys(source: FromClause, query: type[FilterModel], order_by: str) -> list[Key]:
    return query.ordering(source, order_by)


@cached_per_table
def _select_page(
    source: FromClause,
    asked: _Asked,
    model: type[BaseModel],
    order_by: str,
    start: tuple[bool, tuple[bool, ...]] | None,  # backward, and which keys of that row are NULL
) -> Select[Any]:
    query = asked[0]
    keys, selected = _keys(source, query, order_by), set(column_names(model))
    further = [key.column for key in keys if key.name not in selected]
    statement = select(*columns_for(model, source), *further).where(*_conditions(source, asked))
    if start is not None:
        backward, nulls = start
        keys = [k._replace(descending=k.descending != backward) for k in keys]
        statement = statement.where(after(keys, nulls))
    order = (key.column.desc() if key.descending else key.column.asc() for key in keys)
    statement = statement.order_by(*order)
    statement = statement.limit(bindparam("limit", type_=BigInteger))
    if issubclass(query, QueryModel):
        statement = statement.offset(bindparam("offset", type_=BigInteger))
    return statement


@cached_per_table
def _select_count(source: FromClause, asked: _Asked) -> Select[Any]:
    return select(func.count()).select_from(source).where(*_conditions(source, asked))


def _conditions(source: FromClause, asked: _Asked) -> list[ColumnElement[bool]]:
    query, filters, where = asked
    always = query.restrict(source.c)
    filtered = [one.condition(source) for one in filters]
    return [*([] if always is None else [always]), *filtered, *conditions_on(source, where)]


def _refuse_repeated(query: type[FilterModel], url: str) -> None:
    """Raise RequestValidationError for `?limit=1&limit=2`, of which FastAPI takes the last."""
    counts = Counter(name for name, _ in _given(url.partition("?")[2]))
    repeated = [name for name, n in counts.items() if n > 1 and name in _scalars(query)]
    if repeated:
        error = {"type": "repeated", "msg": "Give this parameter once"}
        raise RequestValidationError([error | {"loc": ("query", name)} for name in repeated])


@cache
def _scalars(query: type[FilterModel]) -> frozenset[str]:
    """The parameters that take one value."""
    return frozenset(
        field.alias or name
        for name, field in query.model_fields.items()
        if not any(get_origin(a) is list for a in (field.annotation, *get_args(field.annotation)))
    )


def relative_reference(request: HTTPConnection | str) -> str:
    """Path and query of a request or URL, from the root of the host (RFC 3986, section 4.2).

    The path has the root path, which a proxy may have taken off.
    """
    if isinstance(request, str):
        path, query = urlsplit(request)[2:4]
    else:
        path, root = request.scope["path"], request.scope.get("root_path", "").rstrip("/")
        path = quote(path if path.startswith(f"{root}/") else root + path, safe="/:@!$&'()*+,;=")
        query = quote(request.scope["query_string"], safe=punctuation)
    path = "/%2F" + path[2:] if path.startswith("//") else path  # `//` would begin with a host
    return f"{path}?{query}" if query else path


def with_parameters(url: str, parameters: Mapping[str, str | int | None]) -> str:
    """The URL with these query parameters instead of its own of these names; None removes one.

    The other parameters stay as the client wrote them.
    """
    path, _, query = url.partition("?")
    kept = [given for name, given in _given(query) if name not in parameters]
    added = {name: value for name, value in parameters.items() if value is not None}
    both = "&".join([*kept, urlencode(added)] if added else kept)
    return f"{path}?{both}" if both else path


def _given(query: str) -> list[tuple[str, str]]:
    """Name and `name=value`, as it was written, of every parameter."""
    return [(unquote_plus(given.partition("=")[0]), given) for given in query.split("&") if given]
