"""Rows as JSON texts, which come back equal in value and in Python type.

JSON holds integers, finite numbers, text, booleans and null as they are. Anything else is an object
with one key that names its type. Nothing that a file says is ever run, as pickle would.
"""

import ipaddress
import json
import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from asyncpg import Range as DriverRange
from asyncpg import Record
from asyncpg import types as driver_types
from asyncpg.pgproto.pgproto import UUID as DriverUUID  # noqa: N811
from sqlalchemy.dialects.postgresql import BitString, Range
from sqlalchemy.dialects.postgresql.ranges import MultiRange

#: A key of a row: of one column its value, of several a tuple.
Key = Any

#: What JSON or `_default` writes so that the type can be told; a float only when it is finite.
_PLAIN = {
    *(int, float, str, bool, type(None), datetime, date, time, timedelta, Decimal, bytes),
    *(UUID, DriverUUID),
}
_NETWORKS = {
    kind.__name__: kind
    for kind in (
        *(ipaddress.IPv4Address, ipaddress.IPv4Interface, ipaddress.IPv4Network),
        *(ipaddress.IPv6Address, ipaddress.IPv6Interface, ipaddress.IPv6Network),
    )
}
_SHAPES = ("Point", "Box", "Line", "LineSegment", "Circle", "Path", "Polygon")


def encode_rows(rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Return the rows with values that `dumps` writes; raises TypeError for an unknown type."""
    columns = []
    for column in zip(*rows, strict=True):
        kinds = set(map(type, column))
        is_plain = kinds <= _PLAIN and (float not in kinds or all(map(_is_finite, column)))
        columns.append(column if is_plain else [tagged(value) for value in column])
    return list(zip(*columns, strict=True))


def _is_finite(value: Any) -> bool:
    return type(value) is not float or math.isfinite(value)


def _default(value: Any) -> dict[str, Any]:
    """What stands for a value that JSON cannot write; datetime is a date, so it comes first."""
    kind = type(value)
    if kind is datetime:
        return {"at": value.isoformat()}
    if kind is date:
        return {"date": value.isoformat()}
    if kind is time:
        return {"time": value.isoformat()}
    if kind is timedelta:
        return {"interval": [value.days, value.seconds, value.microseconds]}
    if kind is Decimal:
        return {"number": str(value)}
    if kind is bytes:
        return {"bytes": b64encode(value).decode()}
    if kind is DriverUUID:
        return {"uuid": value.hex}
    if kind is UUID:
        return {"UUID": value.hex}
    raise TypeError(f"A cache cannot hold a value of type {kind.__name__}.")


#: JSON text of what is plain or tagged.
dumps = json.JSONEncoder(
    default=_default,
    ensure_ascii=False,
    allow_nan=False,
    check_circular=False,
    separators=(",", ":"),
).encode


def tagged(value: Any) -> Any:
    """The value as `dumps` has to be given it; raises TypeError for an unknown type."""
    kind = type(value)
    if kind in _PLAIN:
        return value if kind is not float or math.isfinite(value) else {"float": repr(value)}
    if kind is list:
        return {"list": [tagged(one) for one in value]}
    if kind is tuple:
        return {"tuple": [tagged(one) for one in value]}
    if kind is dict:
        return {"dict": [[key, tagged(one)] for key, one in value.items()]}
    if kind is Range:
        return {"range": [tagged(value.lower), tagged(value.upper), value.bounds, value.empty]}
    if kind is MultiRange:
        return {"ranges": [tagged(one) for one in value]}
    if kind is BitString:
        return {"bits": str(value)}
    return _of_the_driver(value)


def _of_the_driver(value: Any) -> Any:
    """What asyncpg makes of types that SQLAlchemy has no class for."""
    name = type(value).__name__
    if name in _NETWORKS:
        return {"net": [name, str(value)]}
    if isinstance(value, DriverRange):
        ends = [tagged(value.lower), tagged(value.upper)]
        return {"driver_range": [*ends, value.lower_inc, value.upper_inc, value.isempty]}
    if isinstance(value, driver_types.BitString):
        return {"driver_bits": value.as_string()}
    if isinstance(value, driver_types.Path):
        return {"shape": [name, [tagged(tuple(one)) for one in value.points], value.is_closed]}
    if name in _SHAPES:
        return {
            "shape": [
                name,
                [tagged(tuple(one) if isinstance(one, tuple) else one) for one in value],
                None,
            ]
        }
    return _default(value)


def _shape(payload: list[Any]) -> Any:
    name, parts, is_closed = payload
    if name not in _SHAPES:
        raise ValueError(f"unknown shape {name!r}")
    kind = getattr(driver_types, name)
    if name == "Path":
        return kind(*parts, is_closed=is_closed)
    return kind(*parts)


_RESTORE: dict[str, Callable[[Any], Any]] = {
    "at": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "interval": lambda parts: timedelta(*parts),
    "number": Decimal,
    "bytes": b64decode,
    "uuid": DriverUUID,
    "UUID": UUID,
    "float": float,
    "list": lambda items: items,
    "tuple": tuple,
    "dict": dict,
    "range": lambda parts: Range(parts[0], parts[1], bounds=parts[2], empty=parts[3]),
    "ranges": MultiRange,
    "bits": BitString,
    "net": lambda parts: _NETWORKS[parts[0]](parts[1]),
    "driver_range": lambda parts: DriverRange(
        parts[0], parts[1], lower_inc=parts[2], upper_inc=parts[3], empty=parts[4]
    ),
    "driver_bits": driver_types.BitString,
    "shape": _shape,
}


def _restored(found: dict[str, Any]) -> Any:
    ((tag, payload),) = found.items()
    return _RESTORE[tag](payload)


_decoder: Any = json.JSONDecoder(object_hook=_restored)
#: What `loads` does with the text from a position on; it returns the end, too.
scan = _decoder.scan_once


def loads(text: str) -> Any:
    """What `dumps` was given; raises ValueError, KeyError or StopIteration for another text."""
    return scan(text, 0)[0]


def key_text(key: Key) -> int | str:
    """A key as a cache holds it: a bigint as it is, anything else as JSON."""
    return key if type(key) is int and -(2**63) <= key < 2**63 else dumps(tagged(key))


#: What `loads` raises, and what makes objects of it, when a text is damaged.
DAMAGED = (ValueError, KeyError, TypeError, StopIteration, IndexError, ArithmeticError)


def without_records(value: Any) -> Any:
    """A composite value as a tuple: a Record of asyncpg can be made by nobody else."""
    if isinstance(value, Record):
        return tuple(map(without_records, value))
    return [without_records(one) for one in value] if type(value) is list else value


def rows_text(keys: Iterable[Key], rows: Sequence[Sequence[Any]]) -> str:
    """JSON of pairs: the key as a cache holds it, and the row."""
    return dumps(list(zip(map(key_text, keys), encode_rows(rows), strict=True)))
