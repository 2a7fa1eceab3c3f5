"""Positions in an ordering: the keys of ORDER BY, the rows after a given one, and cursors."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from typing import Any, NamedTuple

from pydantic import ConfigDict, TypeAdapter
from sqlalchemy import ColumnElement, and_, bindparam, or_, tuple_

from ..data.statements import unlimited
from ..types import Int64, Text

DIGEST_SIZE = 6
BOUNDED: dict[type, Any] = {int: Int64, str: Text}


class Key(NamedTuple):
    """One column to sort by. As in PostgreSQL, NULL counts as greater than every value."""

    column: ColumnElement[Any]
    name: str
    descending: bool

    @property
    def nullable(self) -> bool:
        """Whether there may be NULLs; true for what is not a table's column."""
        return bool(getattr(self.column, "nullable", True))

    @property
    def adapter(self) -> TypeAdapter[Any]:
        """Writes the key's values as JSON and reads them back."""
        kind = getattr(self.column.type, "data_type", self.column.type)  # a domain's own type
        try:
            python_type: type = kind.python_type
        except NotImplementedError:
            python_type = str
        return _adapter_of(python_type)


@cache
def _adapter_of(python_type: type) -> TypeAdapter[Any]:
    annotation = BOUNDED.get(python_type, python_type)
    return TypeAdapter(annotation | None, config=ConfigDict(allow_inf_nan=True))


def after(keys: Sequence[Key], nulls: Sequence[bool]) -> ColumnElement[bool]:
    """Rows after the one whose keys are bound as k0, k1, ...; `nulls` tells which are NULL.

    Where it can it compares rows, which an index answers directly: (price, id) > (k0, k1).
    """
    if len({key.descending for key in keys}) == 1 and not any(key.nullable for key in keys):
        row = tuple_(*(key.column for key in keys))
        bound = tuple_(*(_bound(key, i) for i, key in enumerate(keys)))
        return row < bound if keys[0].descending else row > bound
    return or_(
        *(
            and_(*(_same(keys[j], j, nulls[j]) for j in range(i)), beyond)
            for i, key in enumerate(keys)
            if (beyond := _beyond(key, i, nulls[i])) is not None
        )
    )


def _bound(key: Key, i: int) -> ColumnElement[Any]:
    return bindparam(f"k{i}", type_=unlimited(key.column.type))


def _same(key: Key, i: int, null: bool) -> ColumnElement[bool]:
    return key.column.is_(None) if null else key.column == _bound(key, i)


def _beyond(key: Key, i: int, null: bool) -> ColumnElement[bool] | None:
    """Rows beyond this value in one key; None when there can be none."""
    if null:
        return key.column.is_not(None) if key.descending else None
    if key.descending:
        return key.column < _bound(key, i)
    greater = key.column > _bound(key, i)
    return or_(greater, key.column.is_(None)) if key.nullable else greater


class BadCursor(ValueError):
    """Not a cursor of this ordering."""


class Cursor(NamedTuple):
    """The keys of a row; a page starts after it or, when `backward`, ends before it."""

    values: tuple[Any, ...]
    backward: bool

    def encode(self, keys: Sequence[Key], ordering: str) -> str:
        """The cursor as opaque text for a URL; it is good for this ordering only."""
        values = zip(keys, self.values, strict=True)
        plain = [key.adapter.dump_python(value, mode="json") for key, value in values]
        payload = json.dumps([self.backward, *plain], separators=(",", ":")).encode()
        return _to_text(_digest(payload, ordering) + payload)

    @classmethod
    def decode(cls, text: str, keys: Sequence[Key], ordering: str) -> "Cursor":
        """The cursor that `encode` wrote; raises BadCursor for anything else.

        The digest finds changed cursors and those of another ordering. It is no secret: a cursor
        shows no row that the query without it would not show.
        """
        try:
            raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            digest, payload = raw[:DIGEST_SIZE], raw[DIGEST_SIZE:]
            # base64 skips foreign characters and ignores the last bits: compare what was written.
            if digest != _digest(payload, ordering) or text != _to_text(raw):
                raise BadCursor
            backward, *plain = json.loads(payload)
            pairs = list(zip(keys, plain, strict=True))
            values = tuple(key.adapter.validate_python(value) for key, value in pairs)
        except (ValueError, TypeError, RecursionError):
            raise BadCursor from None
        if any(value is None and not key.nullable for key, value in zip(keys, values, strict=True)):
            raise BadCursor
        return cls(values, backward is True)


def _to_text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _digest(payload: bytes, ordering: str) -> bytes:
    return blake2b(ordering.encode() + b"\0" + payload, digest_size=DIGEST_SIZE).digest()
