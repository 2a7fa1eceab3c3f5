"""Python source for one reflected column, as a line of a TypedColumns class."""

import keyword
import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import TypedColumns

from .python_source import IMPORTS, PYTHON_TYPES, call, literal, python_type, sql, type_source

TAKEN = {"sa", "pg", "list", *IMPORTS, *PYTHON_TYPES.values()}


def column_source(column: Any, key: list[str]) -> str:
    """Return the line for a column as the inspector describes it; `key` is the primary key."""
    name = column["name"]
    value = python_type(column["type"]) + (" | None" if column["nullable"] else "")
    before = f"    {attribute(name)}: sa.Named[{value}] = "
    renamed = [literal(name)] if attribute(name) != name else []
    arguments = [*renamed, *_arguments(column)]
    return before + call("sa.Column", *arguments, **_options(column, key), before=before) + "\n"


def attribute(name: str) -> str:
    """Return the column's name, altered where `table.c.<name>` cannot be written or is a method."""
    usable = name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("__")
    # A column called `bytes` would stand for the type in the annotations below it.
    if usable and name not in TAKEN and not hasattr(TypedColumns, name):
        return name
    return re.sub(r"\W", "_", name).strip("_") + "_"


def _arguments(column: Any) -> Iterator[str]:
    yield type_source(column["type"])
    if identity := column.get("identity"):
        steps = {key: str(identity[key]) for key in ("start", "increment") if identity[key] != 1}
        cycle = {"cycle": "True"} if identity["cycle"] else {}
        yield call("sa.Identity", always=str(identity["always"]), **steps, **cycle)
    if computed := column.get("computed"):
        yield call("sa.Computed", sql(computed["sqltext"]), persisted=str(computed["persisted"]))


def _options(column: Any, key: list[str]) -> dict[str, str]:
    options = {}
    if column["name"] in key:
        options["primary_key"] = "True"
    # serial: alembic takes the sequence for granted and compares without the default.
    if column.get("default") is not None and not column.get("autoincrement"):
        options["server_default"] = call("sa.text", sql(column["default"]))
    if column.get("comment") is not None:
        options["comment"] = literal(column["comment"])
    return options
