"""Python source for values, SQL and types, in the layout that ruff format leaves alone."""

import datetime as dt
import decimal
import re
import uuid
from typing import Any

from sqlalchemy import types
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.types import TypeEngine

WIDTH = 100
# What the written module imports; no variable or column of it may be called the same.
IMPORTS = {
    "dt": "import datetime as dt",
    "Decimal": "from decimal import Decimal",
    "Any": "from typing import Any",
    "UUID": "from uuid import UUID",
}
PYTHON_TYPES = {
    bool: "bool",
    bytes: "bytes",
    dt.date: "dt.date",
    dt.datetime: "dt.datetime",
    dt.time: "dt.time",
    dt.timedelta: "dt.timedelta",
    decimal.Decimal: "Decimal",
    float: "float",
    int: "int",
    str: "str",
    uuid.UUID: "UUID",
}


def literal(value: object) -> str:
    """Return the source of a value; strings in the quotes that ruff prefers."""
    if not isinstance(value, str):
        return repr(value)
    quote = "'" if value.count('"') > value.count("'") else '"'
    plain = (c if c.isprintable() and c != "\\" else _escaped(c) for c in value)
    return quote + "".join(plain).replace(quote, "\\" + quote) + quote


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def sql(value: str) -> str:
    """Return the source of a piece of SQL, in which a colon before a word is no bind parameter."""
    return literal(re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", value))


def call(function: str, /, *arguments: str, before: str = "", **keywords: str) -> str:
    """Return the source of a call, on one line if that fits, else with one argument a line.

    `before` is what stands before it on its line; its leading blanks are the indentation.
    """
    parts = [*arguments, *(f"{key}={source}" for key, source in keywords.items())]
    line = f"{function}({', '.join(parts)})"
    if len(before) + len(line) <= WIDTH and "\n" not in line:
        return line
    indent = " " * (len(before) - len(before.lstrip()))
    inner = "".join(f"{indent}    {part},\n" for part in parts)
    return f"{function}(\n{inner}{indent})"


def type_source(kind: TypeEngine[Any]) -> str:
    """Return the source of a reflected type; of one that SQLAlchemy does not know, a stand-in."""
    match kind:
        case types.NullType():
            return "sa.types.UserDefinedType[Any]()"
        case pg.ARRAY():
            return f"pg.ARRAY({type_source(kind.item_type)})"
        case pg.ENUM():
            labels = [literal(label) for label in kind.enums]
            return call("pg.ENUM", *labels, name=literal(kind.name), **_schema(kind.schema))
        case pg.DOMAIN():
            base = type_source(kind.data_type)
            return call("pg.DOMAIN", literal(kind.name), base, **_schema(kind.schema))
        case pg.JSON():
            return f"pg.{type(kind).__name__}()"
        case _:
            return "pg." + repr(kind).replace("'", '"')


def _schema(schema: str | None) -> dict[str, str]:
    return {"schema": literal(schema)} if schema else {}


def python_type(kind: TypeEngine[Any]) -> str:
    """Return the source of the type that asyncpg's values have, Any where it varies."""
    match kind:
        case pg.ARRAY():
            return f"list[{python_type(kind.item_type)}]"
        case pg.DOMAIN():
            return python_type(kind.data_type)
    try:
        return PYTHON_TYPES.get(kind.python_type, "Any")
    except NotImplementedError:
        return "Any"
