"""Pages of results, as a query model asks for them."""

from collections import Counter
from functools import cache
from typing import Any, Generic, TypeVar, get_args, get_origin

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy import Select, Table
from starlette.datastructures import URL

from ..data.transaction import TransactionManager
from ..fast.statements import Where
from .by_cursor import cursor_page
from .by_offset import offset_page
from .links import parameter_names
from .listing import Listing
from .query import FilterModel, KeysetQueryModel, QueryModel

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
    url: URL | str,
    source: Table | Select[Any],
    where: Where = None,
) -> Page[M]:
    """One page of the rows of a table or of any statement, as `model`, with links made from `url`.

    The query's columns are those of `source`. Raises RequestValidationError for a repeated
    parameter that takes one value, and for a cursor that is not of this ordering.
    """
    address = str(url)
    refuse_repeated(type(query), address)
    listing = Listing(tx, model, query, source, where)
    if isinstance(query, KeysetQueryModel):
        members = await cursor_page(listing, query, address)
    elif isinstance(query, QueryModel):
        members = await offset_page(listing, query, address)
    else:
        raise TypeError(f"{type(query).__name__} must be a QueryModel or a KeysetQueryModel.")
    return _page_of(model).model_validate(members)


@cache
def _page_of(model: type[M]) -> type[Page[M]]:
    return Page[model]  # type: ignore[valid-type]


def refuse_repeated(query: type[FilterModel], url: str) -> None:
    """Raise RequestValidationError for `?limit=1&limit=2`, of which FastAPI takes the last."""
    names = list(parameter_names(url))
    if len(names) == len(set(names)):
        return
    repeated = [name for name, n in Counter(names).items() if n > 1 and name in _scalars(query)]
    if repeated:
        raise RequestValidationError(
            [
                {"type": "repeated", "loc": ("query", name), "msg": "Give this parameter once"}
                for name in repeated
            ]
        )


@cache
def _scalars(query: type[FilterModel]) -> frozenset[str]:
    """The parameters that take one value."""
    return frozenset(
        field.alias or name
        for name, field in query.model_fields.items()
        if not any(get_origin(a) is list for a in (field.annotation, *get_args(field.annotation)))
    )
