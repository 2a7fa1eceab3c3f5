"""Columns of reflected tables and their SQLAlchemy types, from PostgreSQL's descriptions."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Column, Computed, Identity, Integer, Row, Table, TextClause, text
from sqlalchemy.dialects.postgresql import ARRAY, BIT, DOMAIN, ENUM, INTERVAL
from sqlalchemy.types import NullType, TypeEngine

_ARGUMENTS = re.compile(r"\(([^)]*)\)")
_SEQUENCE = ("start", "increment", "minvalue", "maxvalue", "cache", "cycle")


class ColumnTypes:
    """Makes one SQLAlchemy type for all columns that have the same type in PostgreSQL.

    `known` are the classes by PostgreSQL's name, those that extensions such as pgvector register
    with the dialect included. A type without a class, a composite or geometric one for example,
    becomes NullType: its values come as asyncpg makes them.
    """

    def __init__(self, types: Iterable[Row[Any]], known: Mapping[str, Any]) -> None:
        self.rows = {row.oid: row for row in types}
        self._known = known
        self._made: dict[tuple[Any, ...], TypeEngine[Any]] = {}

    def get(
        self, oid: int, full_name: str, collation: str | None = None, schema: str | None = None
    ) -> TypeEngine[Any]:
        """The type with this oid; `full_name` is format_type()'s text, with length and so on."""
        key = (oid, full_name, collation, schema)
        if key not in self._made:
            options = {"collation": collation, "collation_schema": schema} if collation else {}
            self._made[key] = self._make(self.rows[oid], full_name, options)
        return self._made[key]

    def _make(self, row: Row[Any], full_name: str, options: dict[str, Any]) -> TypeEngine[Any]:
        if row.element is not None:
            item = self._make(self.rows[row.element], full_name.removesuffix("[]"), options)
            return item if isinstance(item, NullType) else ARRAY(item)
        if row.kind == "e":
            return ENUM(*row.labels, name=row.name, schema=row.schema)
        if row.kind == "d":
            return self._domain(row, options)
        return self._plain(row, full_name, options)

    def _domain(self, row: Row[Any], options: dict[str, Any]) -> TypeEngine[Any]:
        base = self.get(row.base, row.base_format)
        if isinstance(base, NullType):
            return base
        if row.collation:
            options = {"collation": row.collation, "collation_schema": row.collation_schema}
        if row.checks:
            options |= {"constraint_name": row.checks[0][0], "check": row.checks[0][1]}
        options |= {"default": row.default, "not_null": row.not_null, "create_type": False}
        domain: Any = DOMAIN(row.name, base, schema=row.schema, **options)
        domain.operator_classes = base.operator_classes  # or SQLAlchemy 2.1 warns of comparisons
        return cast(DOMAIN, domain)

    def _plain(self, row: Row[Any], full_name: str, options: dict[str, Any]) -> TypeEngine[Any]:
        is_builtin = row.schema == "pg_catalog"
        name = _ARGUMENTS.sub("", full_name) if is_builtin else row.name
        found = _ARGUMENTS.search(full_name)
        arguments: list[Any] = found[1].split(",") if found else []
        arguments = [int(one) if re.fullmatch(r" *-?\d+ *", one) else one for one in arguments]
        if is_builtin and name.startswith("interval"):
            fields = name.removeprefix("interval").strip() or None
            return INTERVAL(arguments[0] if arguments else None, fields)
        if is_builtin and name.startswith("time"):
            arguments = [name.endswith("with time zone"), *arguments]
            options = {}
        if name == "bit varying":
            return BIT(arguments[0] if arguments else None, varying=True)
        if name == "double precision":
            arguments = [53]
        known = self._known.get(name)
        return known(*arguments, **options) if known else NullType()


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
    domain = types.rows[row.type]  # or another type, which has neither default nor NOT NULL
    default = row.default or (domain.default if domain.kind == "d" else None)
    info = {
        "name": row.name,
        "type": type_,
        "nullable": not (row.not_null or domain.not_null),
        "default": default,
        "comment": row.comment,
        "autoincrement": False,
    }
    if row.generated:
        computed = {"sqltext": row.default, "persisted": row.generated == "s"}
        info |= {"default": None, "computed": computed}
    elif row.identity:
        options = dict(zip(_SEQUENCE, row.sequence or (), strict=False))
        options["cycle"] = bool(options.get("cycle"))
        identity = {"always": row.identity == "a", **options}
        info |= {"identity": identity, "autoincrement": True}
    elif default and default.startswith("nextval(") and isinstance(type_, Integer):
        info["autoincrement"] = True
    return info


def _column(info: dict[str, Any]) -> Column[Any]:
    items: list[Any] = []
    if computed := info.get("computed"):
        items.append(Computed(sql(computed["sqltext"]), persisted=computed["persisted"]))
    if identity := info.get("identity"):
        items.append(Identity(**identity))
    default = info["default"]
    return Column(
        info["name"],
        info["type"],
        *items,
        key=info.get("key", info["name"]),
        server_default=sql(default) if isinstance(default, str) else default,
        info=info.get("info"),
        **{name: info[name] for name in ("nullable", "autoincrement", "comment")},
    )
