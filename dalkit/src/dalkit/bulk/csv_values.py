"""JSON values as the CSV values that COPY reads, by the kind of their column."""

from typing import Any, Literal

from sqlalchemy import ARRAY, JSON, Table
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.types import TypeEngine

from .json_object import Number

#: How a column takes a value: as text, as the JSON itself, as an array, or no string at all.
Kind = Literal["plain", "json", "array", "number"]

NULL = b""

#: What COPY is told. Quotes are escaped as in JSON, so that most strings can stay as they are.
OPTIONS = {"format": "csv", "escape": "\\"}


def kinds_of(table: Table) -> dict[str, Kind]:
    """The kind of every column: what its `info` has for "json", or else what its type tells."""
    return {column.name: column.info.get("json") or _kind(column.type) for column in table.c}


def _kind(type_: TypeEngine[Any]) -> Kind:
    if isinstance(type_, DOMAIN):
        return _kind(type_.data_type)
    if isinstance(type_, JSON):
        return "json"
    return "array" if isinstance(type_, ARRAY) else "plain"


def csv_value(value: Any, text: str, kind: Kind) -> bytes:
    """The value, which was written as `text`, for COPY; raises ValueError."""
    if value is None:
        return NULL
    if kind == "json":
        return quoted(text)
    if kind == "array" and isinstance(value, list):
        return quoted(_array(value))
    if isinstance(value, str) and not isinstance(value, Number):
        return quoted(value)
    return quoted(text)


def quoted(text: str) -> bytes:
    """The text as a quoted CSV value; a lone surrogate is left for PostgreSQL to refuse."""
    return b'"%b"' % with_escapes(text).encode("utf-8", "surrogatepass")


def with_escapes(text: str) -> str:
    """The text as it stands between the quotes of a CSV value."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _array(values: list[Any]) -> str:
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return _array(value)
    if isinstance(value, dict):
        raise ValueError("an array cannot hold an object")
    if isinstance(value, bool):
        return str(value).lower()
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
