"""Statements of one table: built once, kept with the table, run with new values each time."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, NamedTuple, TypeVar, TypeVarTuple, cast

from pydantic import BaseModel
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Executable,
    FromClause,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    delete,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, insert

from .columns import column, plain, stored, unlimited
from .rows import columns_for

F = TypeVar("F", bound=FromClause)
S = TypeVar("S")
Arguments = TypeVarTuple("Arguments")

Where = Mapping[str, Any] | ColumnElement[bool] | None

#: What a `where` says without its values: columns and whether each is NULL, or an expression in a
#: list, which has no hash: it is one of a kind, and so is its statement.
Shape = tuple[tuple[str, bool], ...] | list[ColumnElement[bool]]

#: Statements kept per table. Clients choose which filters to combine, so there must be an end.
MOST_KEPT = 500


def cached_per_table(build: Callable[[F, *Arguments], S]) -> Callable[[F, *Arguments], S]:
    """Keep what `build(table, ...)` returns, and return it again for equal arguments.

    It lives as long as the table, which is replaced when the database is reflected again. Nothing
    is kept for a source that is no table, nor for arguments without a hash.
    """

    @wraps(build)
    def cached(source: F, *arguments: *Arguments) -> S:
        if not isinstance(source, Table):
            return build(source, *arguments)
        statements: dict[Any, S] = source.info.setdefault("statements", {})
        key = (build, *arguments)
        try:
            found = statements.get(key)
        except TypeError:
            return build(source, *arguments)
        if found is None:
            if len(statements) >= MOST_KEPT:
                statements.clear()
            found = statements[key] = build(source, *arguments)
        return found

    return cached


@cached_per_table
def select_rows(
    table: Table, model: type[BaseModel], where: Shape, most: int | None
) -> Select[Any]:
    """SELECT of the columns of a model, of at most so many rows."""
    return select(*columns_for(model, table)).where(*conditions_on(table, where)).limit(most)


@cached_per_table
def insert_row(table: Table, model: type[BaseModel], names: tuple[str, ...]) -> Insert:
    """INSERT of these columns, whose values are `value_params`; it returns those of a model."""
    new: Any = insert(table).values(_value_binds(table, names))
    return cast(Insert, new.returning(*columns_for(model, table)))


@cached_per_table
def update_rows(
    table: Table, model: type[BaseModel], names: tuple[str, ...], where: Shape
) -> Update:
    """UPDATE of these columns, whose values are `value_params`; it returns those of a model."""
    matching = update(table).where(*conditions_on(table, where))
    return matching.values(_value_binds(table, names)).returning(*columns_for(model, table))


@cached_per_table
def delete_rows(table: Table, where: Shape) -> Executable:
    """DELETE, which returns true for each row."""
    return delete(table).where(*conditions_on(table, where)).returning(literal(True))


def _value_binds(table: Table, names: tuple[str, ...]) -> dict[str, BindParameter[Any]]:
    types = {name: stored(table.c[name].type) for name in names}
    return {name: bindparam(f"v{i}", type_=types[name]) for i, name in enumerate(names)}


def value_params(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a row to write."""
    return {f"v{i}": value for i, value in enumerate(values.values())}


class Conditions(NamedTuple):
    """A `where`, split into what its statement is made of and the values to run it with."""

    shape: Shape
    params: dict[str, Any]

    @classmethod
    def of(cls, where: Where) -> "Conditions":
        """Conditions of an expression, or of columns and their values (None: IS NULL)."""
        if isinstance(where, ColumnElement):
            return cls([where], {})
        equal = {name: plain(value) for name, value in (where or {}).items()}
        shape = tuple((name, value is None) for name, value in equal.items())
        return cls(shape, {f"w{i}": v for i, v in enumerate(equal.values()) if v is not None})


def conditions_on(source: FromClause, shape: Shape) -> list[ColumnElement[bool]]:
    """The conditions of this shape; raises UnknownColumn."""
    if isinstance(shape, list):
        return shape
    return [_equals(column(source, name), i, null) for i, (name, null) in enumerate(shape)]


def _equals(of: ColumnElement[Any], i: int, null: bool) -> ColumnElement[bool]:
    return of.is_(None) if null else of == bindparam(f"w{i}", type_=unlimited(of.type))


def row_with(table: Table, pk: Any, where: Where = None) -> Conditions:
    """That a row has this primary key (a composite one is a tuple) and `where` holds.

    Raises LookupError when the table has no primary key or `pk` another number of values.
    """
    key = _primary_key(table, pk if isinstance(pk, tuple) else (pk,))
    if where is None:
        return Conditions.of(key)
    if isinstance(where, ColumnElement):
        further = [where]
    elif not where.keys() & key.keys():
        return Conditions.of({**key, **where})
    else:
        further = [column(table, name) == plain(value) for name, value in where.items()]
    return Conditions.of(and_(*(table.c[name] == plain(v) for name, v in key.items()), *further))


@cached_per_table
def _key_columns(table: Table) -> tuple[str, ...]:
    return tuple(table.primary_key.columns.keys())


def _primary_key(table: Table, values: tuple[Any, ...]) -> dict[str, Any]:
    """Column to value of a primary key."""
    columns = _key_columns(table)
    if not columns or len(columns) != len(values):
        described = f"({', '.join(columns)})" if columns else "not there"
        raise LookupError(f"The primary key of {table.fullname} is {described}; got {values!r}.")
    return dict(zip(columns, values, strict=True))
