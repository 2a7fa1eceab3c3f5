"""Rows as JSON objects, which COPY puts together from keys and values: faster than row_to_json.

row_to_json looks up how to write a type for every value. Here each column has an expression for its
type, and COPY, which looks that up once, writes keys and values one after the other, with control
characters, which JSON never has, for its delimiter and quote: what is left without them is JSON.
"""

import json
from collections.abc import Sequence
from typing import Any

import asyncpg
from asyncpg import Attribute

#: What COPY is told. It quotes values like the NULL mark: JSON's null in a column of JSON.
OPTIONS: dict[str, Any] = {"format": "csv", "quote": "\x01", "delimiter": "\x02", "null": "null"}

#: The bytes to be taken out of what COPY writes.
SEPARATORS = b"\x01\x02"

#: A SELECT has at most 1664 columns, and each one takes two.
MOST = 800

_NUMBERS = {"int2", "int4", "int8"}
_SCALARS = {"float4", "float8", "numeric", "text", "varchar", "date", "timestamp", "timestamptz"}


async def as_json(driver: asyncpg.Connection, sql: str) -> str:
    """The statement that gives COPY the rows of `sql` as JSON objects."""
    attributes = (await driver.prepare(sql)).get_attributes()
    if not 0 < len(attributes) <= MOST:
        return f"WITH exported AS ({sql}) SELECT row_to_json(exported) FROM exported"  # noqa: S608
    names = ", ".join(f"c{place}" for place in range(len(attributes)))
    scalar = "json_scalar" if driver.get_server_version().major >= 17 else "to_json"
    columns = ", ".join(_columns(attributes, scalar))
    return f"WITH exported ({names}) AS ({sql}) SELECT {columns}, '}}' FROM exported"  # noqa: S608


def _columns(attributes: Sequence[Attribute], scalar: str) -> list[str]:
    """A constant and a value for each column."""
    columns: list[str] = []
    for place, attribute in enumerate(attributes):
        key = json.dumps(attribute.name, ensure_ascii=False)
        columns.append(_literal(("," if place else "{") + key + ":"))
        columns.append(_value(f"c{place}", attribute.type, scalar))
    return columns


def _literal(text: str) -> str:
    """The text in SQL, whatever standard_conforming_strings is."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _value(column: str, type_: asyncpg.Type, scalar: str) -> str:
    """An expression for the column as JSON; NULL is left to COPY."""
    name = type_.name if type_.schema == "pg_catalog" else ""
    if name in _NUMBERS:
        return column
    if name == "bool":
        return f"{column}::text"
    if name == "uuid":
        return f"'\"' || {column}::text || '\"'"
    if name in _SCALARS:
        return f"{scalar}({column})"
    if name.startswith("json"):  # its text may have line breaks, which would end the line
        return f"translate(to_json({column})::text, E'\\n\\r', '  ')"
    return f"to_json({column})"
