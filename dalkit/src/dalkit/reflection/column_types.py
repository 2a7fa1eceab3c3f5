"""SQLAlchemy types of columns, from PostgreSQL's descriptions of types."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Row
from sqlalchemy.dialects.postgresql import ARRAY, BIT, DOMAIN, ENUM, INTERVAL
from sqlalchemy.types import NullType, TypeEngine

_ARGUMENTS = re.compile(r"\(([^)]*)\)")


class ColumnTypes:
    """Makes one SQLAlchemy type for all columns that have the same type in PostgreSQL.

    `known` are the classes by PostgreSQL's name, those that extensions such as pgvector register
    with the dialect included. A type without a class, a composite or geometric one for example,
    becomes NullType: its values come as asyncpg makes them.
    """

    def __init__(self, types: Iterable[Row[Any]], known: Mapping[str, Any]) -> None:
        self._types = {row.oid: row for row in types}
        self._known = known
        self._made: dict[tuple[Any, ...], TypeEngine[Any]] = {}

    def get(
        self, oid: int, full_name: str, collation: str | None = None, schema: str | None = None
    ) -> TypeEngine[Any]:
        """The type with this oid; `full_name` is format_type()'s text, with length and so on."""
        key = (oid, full_name, collation, schema)
        if key not in self._made:
            options = {"collation": collation, "collation_schema": schema} if collation else {}
            self._made[key] = self._make(self._types[oid], full_name, options)
        return self._made[key]

    def is_required(self, oid: int) -> bool:
        """Whether it is a domain that is NOT NULL."""
        return bool(self._types[oid].not_null)

    def default(self, oid: int) -> str | None:
        """The default of a domain."""
        default: str | None = self._types[oid].default if self._types[oid].kind == "d" else None
        return default

    def _make(self, row: Row[Any], full_name: str, options: dict[str, Any]) -> TypeEngine[Any]:
        if row.element is not None:
            item = self._make(self._types[row.element], full_name.removesuffix("[]"), options)
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
        return DOMAIN(row.name, base, schema=row.schema, **options)

    def _plain(self, row: Row[Any], full_name: str, options: dict[str, Any]) -> TypeEngine[Any]:
        is_builtin = row.schema == "pg_catalog"
        name = _ARGUMENTS.sub("", full_name) if is_builtin else row.name
        found = _ARGUMENTS.search(full_name)
        arguments: list[Any] = [_number(part) for part in found[1].split(",")] if found else []
        if is_builtin and name.startswith("interval"):
            fields = name.removeprefix("interval").strip() or None
            return INTERVAL(arguments[0] if arguments else None, fields)
        if is_builtin and name.startswith("time"):
            zone = name.endswith("with time zone")
            made: TypeEngine[Any] = self._known[name](zone, *arguments)
            return made
        return self._of_class(name, arguments, options)

    def _of_class(
        self, name: str, arguments: list[Any], options: dict[str, Any]
    ) -> TypeEngine[Any]:
        if name == "bit varying":
            return BIT(arguments[0] if arguments else None, varying=True)
        if name == "double precision":
            arguments = [53]
        known = self._known.get(name)
        return known(*arguments, **options) if known else NullType()


def _number(text: str) -> int | str:
    text = text.strip()
    return int(text) if re.fullmatch(r"-?\d+", text) else text
