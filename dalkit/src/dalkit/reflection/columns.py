"""Columns of reflected tables."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Computed, Identity, Integer, Row, Table, TextClause, text

from .column_types import ColumnTypes

_SEQUENCE = ("start", "increment", "minvalue", "maxvalue", "cache", "cycle")


def sql(expression: str) -> TextClause:
    """PostgreSQL's text of an expression; SQLAlchemy would take `:word` in it for a parameter."""
    return text(expression.replace(":", r"\:"))


def add_columns(
    table: Table, rows: Sequence[Row[Any]], types: ColumnTypes
) -> dict[int, Column[Any]]:
    """Add a column for each row; return them by their number.

    Listeners of SQLAlchemy's event `column_reflect` on the MetaData may change what is read about
    it first, for example the type; their inspector is None.
    """
    dispatch: Any = table.metadata.dispatch
    columns = {}
    for row in rows:
        info = _column_info(row, types)
        dispatch.column_reflect(None, table, info)
        columns[row.number] = column = _column(info)
        table.append_column(column)
    return columns


def _column_info(row: Row[Any], types: ColumnTypes) -> dict[str, Any]:
    """SQLAlchemy's ReflectedColumn."""
    type_ = types.get(row.type, row.format, row.collation, row.collation_schema)
    default = row.default or types.default(row.type)
    info = {
        "name": row.name,
        "type": type_,
        "nullable": not (row.not_null or types.is_required(row.type)),
        "default": default,
        "comment": row.comment,
        "autoincrement": False,
    }
    if row.generated:
        info |= {
            "default": None,
            "computed": {"sqltext": row.default, "persisted": row.generated == "s"},
        }
    elif row.identity:
        options = dict(zip(_SEQUENCE, row.sequence or (), strict=False))
        options["cycle"] = bool(options.get("cycle"))
        info |= {
            "identity": {"always": row.identity == "a", **options},
            "autoincrement": True,
        }
    elif default and default.startswith("nextval(") and isinstance(type_, Integer):
        info["autoincrement"] = True
    return info


def _column(info: dict[str, Any]) -> Column[Any]:
    items: list[Any] = []
    if "computed" in info:
        computed = info["computed"]
        items.append(Computed(sql(computed["sqltext"]), persisted=computed["persisted"]))
    if "identity" in info:
        items.append(Identity(**info["identity"]))
    default = info["default"]
    return Column(
        info["name"],
        info["type"],
        *items,
        key=info.get("key", info["name"]),
        nullable=info["nullable"],
        server_default=sql(default) if isinstance(default, str) else default,
        autoincrement=info["autoincrement"],
        comment=info["comment"],
        info=info.get("info"),
    )
