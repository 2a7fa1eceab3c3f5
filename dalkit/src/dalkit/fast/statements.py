"""Statements of one table: built once, kept with the table, run with new values each time."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

from sqlalchemy import BindParameter, ColumnElement, FromClause, Table, and_, bindparam

from ..data.columns import column, plain, stored, unlimited

S = TypeVar("S")
Where = Mapping[str, Any] | ColumnElement[bool] | None

#: Statements kept per table. Clients choose which filters to combine, so there must be an end.
MOST_KEPT = 500


def remembered(table: Table, key: Hashable, build: Callable[[], S]) -> S:
    """What `build` made for this key earlier, or makes now; nothing is kept for the key None.

    It lives as long as the table, which is replaced when the database is reflected again.
    """
    if key is None:
        return build()
    kept = table.info.setdefault("statements", {})
    found: S | None = kept.get(key)
    if found is None:
        if len(kept) >= MOST_KEPT:
            kept.clear()
        found = kept[key] = build()
    return found


def value_binds(table: Table, names: tuple[str, ...]) -> dict[str, BindParameter[Any]]:
    """A bind parameter for each column to write; `value_params` has their values."""
    return {
        name: bindparam(f"v{i}", type_=stored(table.c[name].type)) for i, name in enumerate(names)
    }


def value_params(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `value_binds`."""
    return {f"v{i}": value for i, value in enumerate(values.values())}


class Conditions:
    """Conditions of a `where`: an expression, or columns and their values (None: IS NULL)."""

    def __init__(self, where: Where) -> None:
        self._expression = where if isinstance(where, ColumnElement) else None
        equal = where if isinstance(where, Mapping) else {}
        self.names = tuple((name, value is None) for name, value in equal.items())
        #: Values of the bind parameters.
        self.params = {f"w{i}": plain(v) for i, v in enumerate(equal.values()) if v is not None}

    def key(self, *parts: Hashable) -> Hashable:
        """Identifies the statement that these conditions and `parts` make; None: one of a kind."""
        return None if self._expression is not None else (*parts, self.names)

    def on(self, source: FromClause) -> list[ColumnElement[bool]]:
        """The conditions; raises UnknownColumn."""
        if self._expression is not None:
            return [self._expression]
        return [_equals(column(source, n), i, null) for i, (n, null) in enumerate(self.names)]


def _equals(of: ColumnElement[Any], i: int, null: bool) -> ColumnElement[bool]:
    return of.is_(None) if null else of == bindparam(f"w{i}", type_=unlimited(of.type))


def row_with(table: Table, pk: Any, where: Where) -> Conditions:
    """That a row has this primary key (a composite one is a tuple) and `where` holds.

    Raises LookupError when the table has no primary key or `pk` another number of values.
    """
    key = primary_key(table, pk if isinstance(pk, tuple) else (pk,))
    if isinstance(where, Mapping) and not where.keys() & key.keys():
        return Conditions({**key, **where})
    equal = [column(table, name) == plain(value) for name, value in key.items()]
    if isinstance(where, Mapping):
        equal += [column(table, name) == plain(value) for name, value in where.items()]
    elif where is not None:
        equal.append(where)
    return Conditions(key if where is None else and_(*equal))


def key_params(table: Table, values: tuple[Any, ...]) -> dict[str, Any]:
    """The parameters of `has_key`; raises what `primary_key` does."""
    return {f"k{i}": plain(v) for i, v in enumerate(primary_key(table, values).values())}


def has_key(table: Table) -> ColumnElement[bool]:
    """That a row has the primary key of `key_params`."""
    columns = enumerate(table.primary_key.columns)
    return and_(*(c == bindparam(f"k{i}", type_=unlimited(c.type)) for i, c in columns))


def primary_key(table: Table, values: tuple[Any, ...]) -> dict[str, Any]:
    """Column to value of a primary key; raises LookupError when the number of values is another."""
    columns = remembered(table, "primary key", lambda: tuple(table.primary_key.columns.keys()))
    if not columns or len(columns) != len(values):
        described = f"({', '.join(columns)})" if columns else "not there"
        raise LookupError(f"The primary key of {table.fullname} is {described}; got {values!r}.")
    return dict(zip(columns, values, strict=True))
