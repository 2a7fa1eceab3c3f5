"""The generated service with more of everything: resources, columns, rows of a page.

BENCH_ROUTES is the number of routes that are added to its own, two for each resource; the last
resource is the one that is measured. Added as a developer adds them, and public.
"""

import os
from typing import Annotated, Any

from dalkit import ReadTransaction, Transaction
from dalkit.entities import Entity
from dalkit.paging import Page
from dalkit.types import Id
from dalkit.web import Created
from fastapi import APIRouter, Query, Request
from pydantic import Field, create_model
from sqlalchemy import text

from ..items import Item, ItemCreate, ItemQuery
from .ours import app
from .shared import SLEEP

ROUTES = int(os.environ.get("BENCH_ROUTES", "0"))
COLUMNS = (1, 10, 100)
MOST_ROWS = 1000


class RowsQuery(ItemQuery, entity=Item):
    """The parameters of a list with long pages."""

    limit: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 20


def resource(number: int) -> APIRouter:
    """One of many resources, with two routes."""
    router = APIRouter(prefix=f"/resource{number}")
    name = f"get_resource{number}"

    @router.get("/{item_id}", name=name)
    async def get_item(item_id: Id, tx: ReadTransaction) -> Item:
        return await Item.get_or_404(tx, item_id)

    @router.post("", status_code=201)
    async def create_item(new: ItemCreate, tx: Transaction, created: Created) -> Item:
        item = await Item.insert(tx, new)
        return created.at(name, item, item_id=item.id)

    return router


def wide(columns: int) -> APIRouter:
    """A resource with so many columns, the key one of them."""
    fields: dict[str, Any] = {f"c{i}": (str, ...) for i in range(1, columns)}
    name = f"wide{columns}"
    entity: Any = create_model(
        name.title(),
        __base__=Entity,
        __module__=__name__,
        __cls_kwargs__={"table": name},
        id=(int, ...),
        **fields,
    )
    router = APIRouter(prefix=f"/{name}")

    async def get_wide(item_id: Id, tx: ReadTransaction) -> Any:
        return await entity.get_or_404(tx, item_id)

    router.add_api_route("/{item_id}", get_wide, response_model=entity)
    return router


others = APIRouter()


@others.get("/rows")
async def list_rows(
    query: Annotated[RowsQuery, Query()], tx: ReadTransaction, request: Request
) -> Page[Item]:
    """Long pages."""
    return await Item.page(tx, query, request)


@others.get("/slow")
async def sleep(tx: ReadTransaction) -> str:
    """A statement that takes a while."""
    return str(await tx.fetch_value(text(SLEEP)))


for one in (others, *map(wide, COLUMNS), *map(resource, range(ROUTES // 2))):
    app.include_router(one, prefix="/v1")
