"""Cursors: a position in an ordering, as opaque text in a URL."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from typing import Any, NamedTuple

from pydantic import ConfigDict, TypeAdapter

from ..types import Int64, Text
from .ordering import Key

DIGEST_SIZE = 6
BOUNDED: dict[type, Any] = {int: Int64, str: Text}


class BadCursor(ValueError):
    """Not a cursor of this ordering."""


class Cursor(NamedTuple):
    """The keys of a row; a page starts after it or, when `backward`, ends before it."""

    values: tuple[Any, ...]
    backward: bool

    def encode(self, keys: Sequence[Key], ordering: str) -> str:
        """The cursor as text; it is good for this ordering only."""
        values = zip(keys, self.values, strict=True)
        plain = [_adapter(key).dump_python(value, mode="json") for key, value in values]
        payload = json.dumps([self.backward, *plain], separators=(",", ":")).encode()
        return _to_text(_digest(payload, ordering) + payload)

    @classmethod
    def decode(cls, text: str, keys: Sequence[Key], ordering: str) -> "Cursor":
        """The cursor that `encode` wrote; raises BadCursor for anything else.

        The digest finds changed cursors and those of another ordering. It is no secret: a cursor
        shows no row that the query without it would not show.
        """
        try:
            payload = _verified(text, ordering)
            backward, *plain = json.loads(payload)
            values = zip(keys, plain, strict=True)
            decoded = tuple(_value(key, value) for key, value in values)
        except (ValueError, TypeError, RecursionError):
            raise BadCursor("not a cursor of this ordering") from None
        return cls(decoded, backward is True)


def _verified(text: str, ordering: str) -> bytes:
    raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    digest, payload = raw[:DIGEST_SIZE], raw[DIGEST_SIZE:]
    # base64 skips foreign characters and ignores the last bits: compare with what was written.
    if digest != _digest(payload, ordering) or text != _to_text(raw):
        raise BadCursor
    return payload


def _to_text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _digest(payload: bytes, ordering: str) -> bytes:
    return blake2b(ordering.encode() + b"\0" + payload, digest_size=DIGEST_SIZE).digest()


def _value(key: Key, plain: Any) -> Any:
    if plain is None and not key.nullable:
        raise BadCursor
    return _adapter(key).validate_python(plain)


def _adapter(key: Key) -> TypeAdapter[Any]:
    kind = getattr(key.column.type, "data_type", key.column.type)  # a domain's own type
    try:
        python_type: type = kind.python_type
    except NotImplementedError:
        python_type = str
    return _adapter_of(python_type)


@cache
def _adapter_of(python_type: type) -> TypeAdapter[Any]:
    annotation = BOUNDED.get(python_type, python_type)
    return TypeAdapter(annotation | None, config=ConfigDict(allow_inf_nan=True))
