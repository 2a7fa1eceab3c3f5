"""The one JSON encoder: what is written to json columns and what is sent in responses."""

import json
from typing import Any

from pydantic_core import to_json

loads = json.loads


def dumps(value: Any) -> str:
    """Return `value` as JSON text, by the rules with which pydantic writes response models.

    datetime, date and time are ISO 8601 with microseconds and offset, timedelta an ISO 8601
    duration, UUID (asyncpg's own subclass too) and Decimal strings, Enum its value (also as a
    key), set, frozenset, tuple and generator arrays; dataclasses and pydantic models objects.
    NaN and the infinities become null, because JSON (RFC 8259, section 6) has no such numbers
    and both Postgres' json types and browsers refuse them. Raises ValueError for other types.
    """
    return to_json(value, inf_nan_mode="null").decode()
