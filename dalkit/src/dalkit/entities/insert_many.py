"""Many rows in one INSERT: each column travels as an array, unnest makes rows of the arrays."""

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

from pydantic import BaseModel
from sqlalchemy import ARRAY, JSON, Insert, Table, bindparam, func, insert, null, select
from sqlalchemy import column as bare_column
from sqlalchemy.types import NullType

from ..data.statements import cached_per_table, columns_for, plain, stored, unlimited, values_of
from ..data.transaction import TransactionManager
from ..fast.arrays import FlatArray


async def insert_many(
    tx: TransactionManager,
    table: Table,
    rows: Iterable[Mapping[str, Any] | BaseModel],
    model: type[BaseModel] | None,
) -> list[dict[str, Any]] | int:
    """Insert all rows; return the columns of `model` in the order of `rows`, or else their number.

    Raises UnknownColumn, and ValueError when a row names other columns than the first one or a
    generated column.
    """
    given = [row if isinstance(row, dict) else values_of(table, row) for row in rows]
    if not given:
        return [] if model else 0
    names = tuple(values_of(table, given[0]))
    try:
        columns = [_plain_values([row[name] for row in given]) for name in names]
    except KeyError:
        columns = []
    if not columns or set(map(len, given)) != {len(names)}:
        _refuse_other_names(given, names)
    statement = _insert_rows(table, names, model)
    parameters = _parameters(table, names, columns)
    if model and any(isinstance(table.c[name].type, NullType) for name in names):
        # SQLAlchemy returns several rows in order only when it can name the types of all columns.
        each = [await tx.fetch_all(statement, [row]) for row in parameters]
        return [row for rows in each for row in rows]
    if model:
        return await tx.fetch_all(statement, parameters)
    await tx.run(statement, parameters)
    return len(given)


def _plain_values(values: list[Any]) -> list[Any]:
    has_enums = any(issubclass(kind, Enum) for kind in set(map(type, values)))
    return [plain(value) for value in values] if has_enums else values


def _refuse_other_names(rows: Sequence[Mapping[str, Any]], names: tuple[str, ...]) -> None:
    for number, row in enumerate(rows):
        if missing := [name for name in names if name not in row]:
            raise ValueError(f"Row {number} has no {missing[0]!r}, which the first row has.")
        if more := ", ".join(map(repr, row.keys() - set(names))):
            raise ValueError(f"Row {number} has {more}, which the first row has not.")


def _is_flat(table: Table, names: tuple[str, ...]) -> bool:
    """Whether an array can be made of every column: unnest would take an array of arrays apart."""
    return bool(names) and not any(isinstance(table.c[n].type, ARRAY | NullType) for n in names)


@cached_per_table
def _insert_rows(table: Table, names: tuple[str, ...], model: type[BaseModel] | None) -> Insert:
    returning = columns_for(model, table) if model else []
    if not _is_flat(table, names):
        new = insert(table)
        return new.returning(*returning, sort_by_parameter_order=True) if returning else new
    types = [unlimited(stored(table.c[name].type)) for name in names]
    arrays = [bindparam(f"a{i}", type_=FlatArray(type_)) for i, type_ in enumerate(types)]
    parts = [bare_column(f"c{i}", table.c[n].type) for i, n in enumerate(names)]
    rows = func.unnest(*arrays).table_valued(*parts, with_ordinality="row", name="given")
    listed = rows.render_derived()
    source = select(*(listed.c[part.name] for part in parts)).order_by(listed.c.row)
    return insert(table).from_select(list(names), source).returning(*returning)


def _parameters(table: Table, names: tuple[str, ...], columns: list[list[Any]]) -> Any:
    if _is_flat(table, names):
        return {f"a{i}": values for i, values in enumerate(columns)}
    # SQLAlchemy takes None for JSON's null there, and null() for NULL.
    columns = [
        [null() if value is None else value for value in values]
        if isinstance(table.c[name].type, JSON)
        else values
        for name, values in zip(names, columns, strict=True)
    ]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
