"""Conditional requests (RFC 9110, section 13): ETags, and the headers that name them.

The fields `etag`, `updated_at` and `deleted_at` of an entity are used as what they are called when
they are there. Nothing is assumed when they are not.
"""

import re
from datetime import UTC, datetime
from string import punctuation
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote
from uuid import UUID, uuid4

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy import Table

from ..data.statements import column_name, values_of
from ..data.transaction import TransactionManager
from .links import path_for
from .problems import Problem

if TYPE_CHECKING:  # entities import `Problem`, and with it this package
    from ..entities.entity import Entity, ReadEntity, Values

R = TypeVar("R", bound="ReadEntity")
E = TypeVar("E", bound="Entity")

IfMatch = Annotated[str | None, Header(description="The ETag that the change is based on, or `*`.")]
IfNoneMatch = Annotated[str | None, Header(description="ETags that the client has, or `*`.")]

#: One tag of a list (section 8.8.3): W/ marks a weak one, its text has no quotes, blanks or control
#: characters. Elements of the list may be empty (section 5.6.1).
_TAG = re.compile(r'[\t ,]*(W/)?("[\x21\x23-\x7e\x80-\xff]*")[\t ]*(?:,[\t ,]*|$)')
_SAFE = punctuation.replace('"', "").replace("%", "")


def etag_of(entity: BaseModel) -> str | None:
    """The strong entity tag of the field `etag`, as it stands in a header; None without a value.

    What has no place in a tag is percent-encoded.
    """
    value = getattr(entity, "etag", None)
    return None if value is None else f'"{quote(str(value), safe=_SAFE)}"'


def names(header: str, etag: str | None, *, strongly: bool) -> bool:
    """Whether If-Match or If-None-Match names the tag, given with its quotes; `*` names any.

    If-Match compares strongly: a weak tag names nothing (section 13.1.1). If-None-Match compares
    weakly: W/"a" is "a" (section 13.1.2). Nothing is named by a malformed header.
    """
    if header.strip() == "*":
        return True
    position, found = 0, False
    while position < len(header):
        if (tag := _TAG.match(header, position)) is None:
            return False
        found |= tag[2] == etag and not (strongly and tag[1])
        position = tag.end()
    return found


class ReadConditions:
    """What a GET says of the version that the client has. The dependency is `ConditionalRead`."""

    def __init__(self, response: Response, if_none_match: str | None) -> None:
        self._response = response
        self._if_none_match = if_none_match

    def tagged(self, entity: R) -> R:
        """The entity, whose ETag the response gets.

        Raises Problem 304 when If-None-Match names it.
        """
        etag = etag_of(entity)
        headers = {} if etag is None else {"etag": etag}
        if self._if_none_match is not None and names(self._if_none_match, etag, strongly=False):
            raise Problem(304, headers=headers)
        self._response.headers.update(headers)
        return entity


class WriteConditions:
    """What a change says of the version it is based on. The dependency is `ConditionalWrite`."""

    def __init__(self, response: Response, if_match: str | None) -> None:
        self._response = response
        self._if_match = if_match

    async def update(
        self, tx: TransactionManager, entity: type[E], pk: Any, values: "Values", /, **more: Any
    ) -> E:
        """Write the fields of `values` that were set, and give the row a new etag and updated_at.

        A composite `pk` is a tuple. Without anything to write the row stays as it is. The response
        gets the ETag. Raises Problem 404, 410 (see `get_or_404`), 428 when the entity has an etag
        and the request no If-Match, and 412 when If-Match names other versions or somebody changes
        the row meanwhile.
        """
        seen = await self._seen(tx, entity, pk, required=True)
        table = entity.table_in(tx)
        row = values_of(table, values, only_set=True) | values_of(table, more)
        changed = await self._changed(tx, seen, pk, row) if row else seen
        if (etag := etag_of(changed)) is not None:
            self._response.headers["etag"] = etag
        return changed

    async def delete(self, tx: TransactionManager, entity: type[E], pk: Any, /) -> None:
        """Delete the row, or set its `deleted_at` when the entity has this field.

        A composite `pk` is a tuple. If-Match may be missing. Raises Problem 404, 410 and 412 as
        `update` does.
        """
        seen = await self._seen(tx, entity, pk, required=False)
        if "deleted_at" in entity.model_fields:
            table = entity.table_in(tx)
            await self._changed(tx, seen, pk, _now(table, entity, "deleted_at"))
        elif not await entity.delete(tx, pk, where=self._unchanged(seen)):
            raise await _changed_meanwhile(tx, entity, pk)

    async def _seen(self, tx: TransactionManager, entity: type[E], pk: Any, *, required: bool) -> E:
        """The row, if it is a version that the request allows to change."""
        found = await entity.get_or_404(tx, *_key(pk))
        etag = etag_of(found)
        if self._if_match is None:
            if required and etag is not None:
                raise Problem(428, "Send If-Match with the ETag of what you have seen, or `*`.")
        elif not names(self._if_match, etag, strongly=True):
            raise Problem(412, "It was changed since the ETag in If-Match; read it again.")
        return found

    async def _changed(self, tx: TransactionManager, seen: E, pk: Any, row: dict[str, Any]) -> E:
        """Write, unless somebody has deleted the row or changed the version that was asked for."""
        entity, table = type(seen), seen.table_in(tx)
        row = row | _next_etag(table, seen) | _now(table, entity, "updated_at")
        changed = await entity.update(tx, pk, row, where=self._unchanged(seen))
        if changed is None:
            raise await _changed_meanwhile(tx, entity, pk)
        return changed

    def _unchanged(self, seen: "Entity") -> dict[str, Any]:
        """That the row is still there and, when If-Match names a version, that it is this one."""
        any_version = self._if_match is None or self._if_match.strip() == "*"
        fields = ["deleted_at"] if any_version else ["deleted_at", "etag"]
        return {
            column_name(name, field): getattr(seen, name)
            for name, field in type(seen).model_fields.items()
            if name in fields
        }


async def _changed_meanwhile(tx: TransactionManager, entity: "type[Entity]", pk: Any) -> Problem:
    """Why no row matched: Problem 412, if it is still there; raises what `get_or_404` does."""
    await entity.get_or_404(tx, *_key(pk))
    return Problem(412, "It was changed by somebody else at the same time; read it again.")


def _key(pk: Any) -> tuple[Any, ...]:
    return pk if isinstance(pk, tuple) else (pk,)


def _next_etag(table: Table, seen: "Entity") -> dict[str, Any]:
    """A new value of the field `etag`; others than UUIDs, texts and numbers are the database's."""
    field, value = type(seen).model_fields.get("etag"), getattr(seen, "etag", None)
    if field is None or table.c[name := column_name("etag", field)].computed is not None:
        return {}
    if isinstance(value, int):
        return {name: value + 1}
    if isinstance(value, UUID):
        return {name: uuid4()}
    return {name: str(uuid4())} if isinstance(value, str) else {}


def _now(table: Table, entity: "type[Entity]", name: str) -> dict[str, datetime]:
    """The present time for this field, if there is one; in UTC when its column has no time zone."""
    field, now = entity.model_fields.get(name), datetime.now(UTC)
    if field is None:
        return {}
    column = column_name(name, field)
    has_zone = getattr(table.c[column].type, "timezone", True)
    return {column: now if has_zone else now.replace(tzinfo=None)}


class CreatedResponse:
    """Where a new entity is found. The dependency is `Created`."""

    def __init__(self, request: Request, response: Response) -> None:
        self._request = request
        self._response = response

    def at(self, route: str, entity: R, /, **parameters: Any) -> R:
        """The entity; `Location` of the response is the path of the route `route`.

        `parameters` are those of the route's path. The path is relative to the host: no Host header
        has a part in it. The response gets the entity's ETag, too. Raises
        starlette.routing.NoMatchFound for a route that the application does not have.
        """
        scope, texts = self._request.scope, (str(value) for value in parameters.values())
        encoded = dict(zip(parameters, (quote(text, safe="") for text in texts), strict=True))
        root: str = scope.get("app_root_path", scope.get("root_path", "")).rstrip("/")
        path = path_for(scope["router"], route, encoded)
        self._response.headers["location"] = quote(root) + path
        if (etag := etag_of(entity)) is not None:
            self._response.headers["etag"] = etag
        return entity


# These are coroutines because FastAPI runs other dependencies, classes too, in a thread.


async def conditional_read(response: Response, if_none_match: IfNoneMatch = None) -> ReadConditions:
    """The conditions of a GET."""
    return ReadConditions(response, if_none_match)


async def conditional_write(response: Response, if_match: IfMatch = None) -> WriteConditions:
    """The conditions of a PATCH, PUT or DELETE."""
    return WriteConditions(response, if_match)


async def created_response(request: Request, response: Response) -> CreatedResponse:
    """What the response to a POST tells of the new entity."""
    return CreatedResponse(request, response)


ConditionalRead = Annotated[ReadConditions, Depends(conditional_read)]
"""The dependency of a GET: `ReadConditions` of this request."""
ConditionalWrite = Annotated[WriteConditions, Depends(conditional_write)]
"""The dependency of a PATCH, PUT or DELETE: `WriteConditions` of this request."""
Created = Annotated[CreatedResponse, Depends(created_response)]
"""The dependency of a POST that adds something: `CreatedResponse` of this request."""
