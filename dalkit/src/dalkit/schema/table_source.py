"""Python source for the constraints and indexes of a reflected table."""

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Inspector

from .column_source import attribute
from .python_source import call, literal, sql

_FOREIGN_KEY_OPTIONS = ("ondelete", "onupdate", "deferrable", "initially", "match")


def constraints_and_indexes(inspector: Inspector, table: str, schema: str | None) -> Iterator[str]:
    """Yield each as an argument of sa.Table, indented for one argument a line."""
    for foreign_key in _by_name(inspector.get_foreign_keys(table, schema)):
        yield _foreign_key(foreign_key)
    for unique in _by_name(inspector.get_unique_constraints(table, schema)):
        columns = map(_key, unique["column_names"])
        yield _call("sa.UniqueConstraint", *columns, name=_name(unique), **_dialect(unique))
    for check in _by_name(inspector.get_check_constraints(table, schema)):
        # conv: the name is complete, the naming convention must not prefix it again.
        name = f"sa.schema.conv({_name(check)})"
        yield _call("sa.CheckConstraint", sql(check["sqltext"]), name=name, **_dialect(check))
    for index in _by_name(inspector.get_indexes(table, schema)):
        if "duplicates_constraint" not in index:
            yield _index(index)


def _by_name(items: list[Any]) -> list[Any]:
    return sorted(items, key=lambda item: item["name"])


def _name(item: Any) -> str:
    return literal(item["name"])


def _key(column: str) -> str:
    return literal(attribute(column))


def _call(function: str, /, *arguments: str, **keywords: str) -> str:
    return call(function, *arguments, **keywords, before="    ")


def _foreign_key(item: Any) -> str:
    schema = f"{item['referred_schema']}." if item["referred_schema"] else ""
    target = f"{schema}{item['referred_table']}"
    given = item["options"]
    options = {name: literal(given[name]) for name in _FOREIGN_KEY_OPTIONS if given.get(name)}
    return _call(
        "sa.ForeignKeyConstraint",
        _list(map(attribute, item["constrained_columns"])),
        _list([f"{target}.{attribute(column)}" for column in item["referred_columns"]]),
        name=_name(item),
        **options,
    )


def _index(item: Any) -> str:
    unique = {"unique": "True"} if item["unique"] else {}
    return _call("sa.Index", _name(item), *_index_columns(item), **unique, **_dialect(item))


def _index_columns(item: Any) -> Iterator[str]:
    sorting = item.get("column_sorting", {})
    for name in item.get("expressions", item["column_names"]):
        order = " ".join(sorting.get(name, ())).replace("_", " ").upper()
        if order:
            yield call("sa.text", literal(f"{name} {order}"))
        elif name in item["column_names"]:
            yield _key(name)
        else:
            yield call("sa.text", sql(name))


def _dialect(item: Any) -> dict[str, str]:
    """Return the options for Postgres (where, using, include, ...) that are set."""
    options = {k: v for k, v in item.get("dialect_options", {}).items() if v}
    return {key: _option(key, value) for key, value in options.items()}


def _option(key: str, value: Any) -> str:
    if key == "postgresql_where":
        return call("sa.text", sql(value))
    if isinstance(value, list):
        return _list(map(attribute, value))
    if isinstance(value, dict):
        columns = key == "postgresql_ops"
        pairs = ((_key(k) if columns else literal(k), literal(v)) for k, v in value.items())
        return "{" + ", ".join(f"{k}: {v}" for k, v in pairs) + "}"
    return literal(value)


def _list(values: Iterable[str]) -> str:
    return "[" + ", ".join(map(literal, values)) + "]"
