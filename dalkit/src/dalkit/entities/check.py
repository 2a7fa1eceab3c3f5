"""Checks entities and query models against the reflected tables, once, at startup."""

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic.fields import FieldInfo
from sqlalchemy import ColumnElement, Table

from ..data.columns import UnknownColumn, column
from ..data.dal import DataAccessLayer
from ..data.errors import UnknownTable
from ..data.rows import column_name
from ..paging.filters import OPERATORS, DeclaredFilter
from ..paging.query import FilterModel
from .compatibility import (
    allows_none,
    can_compare,
    can_read,
    list_item,
    named,
    python_type_of,
    unfit_input,
)
from .reading import ReadEntity


class EntityMismatch(RuntimeError):
    """Entities or query models do not fit the database; `problems` has one sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("The models do not fit the database:\n- " + "\n- ".join(problems))


def check_entities(dal: DataAccessLayer, models: Iterable[type]) -> None:
    """Compare the fields of entities and query models with the columns of their tables.

    Raises EntityMismatch with everything that does not fit: missing tables and columns, columns
    that may be NULL where the field may not be None, other types, filters that take values which
    their column cannot hold. Models without a table are left out. Raises NotReflected.
    """
    problems = [problem for model in models for problem in _problems(dal, model)]
    if problems:
        raise EntityMismatch(problems)


def _problems(dal: DataAccessLayer, model: type) -> Iterator[str]:
    entity = model.entity if issubclass(model, FilterModel) else model
    if entity is None or not issubclass(entity, ReadEntity) or not entity.__table__:
        return
    try:
        table = dal.get_table(entity.__table__)
    except UnknownTable as error:
        yield f"{model.__name__}: {error}"
        return
    if issubclass(model, FilterModel):
        yield from _query_problems(model, table)
        return
    for name, field in entity.model_fields.items():
        where = f"{entity.__name__}.{name}"
        yield from _field_problems(where, name, field, table, is_view=dal.is_view(table))


def _field_problems(
    where: str, name: str, field: FieldInfo, table: Table, *, is_view: bool
) -> Iterator[str]:
    try:
        found = column(table, column_name(name, field))
    except UnknownColumn as error:
        yield f"{where}: {error} Rename the field or set its alias, or migrate."
        return
    there = f"column {table.fullname}.{found.key}"
    # PostgreSQL calls every column of a view nullable, which says nothing.
    nullable = getattr(found, "nullable", False) and not is_view
    if nullable and not allows_none(field.annotation):
        yield f"{where}: {there} may be NULL. Declare the field `| None`, or migrate."
    if not can_read(field.annotation, tuple(field.metadata), found.type):
        yield f"{where} is {named(field.annotation)}, but {there} is {found.type!r}. Change either."


def _query_problems(model: type[FilterModel], table: Table) -> Iterator[str]:
    for declared in model.filters:
        where = f"{model.__name__}.{declared.field}"
        try:
            found = column(table, declared.column)
        except UnknownColumn as error:
            yield f"{where}: {error} Rename the filter, or migrate."
            continue
        yield from _filter_problems(where, declared, model.model_fields[declared.field], found)
    for order_by in model.orderings():
        try:
            model.ordering(table, order_by)
        except (UnknownColumn, TypeError) as error:
            yield f"{model.__name__}, order_by {order_by!r}: {error}"


def _filter_problems(
    where: str, declared: DeclaredFilter, field: FieldInfo, found: ColumnElement[Any]
) -> Iterator[str]:
    if declared.op == "isnull":
        return
    operator, there = OPERATORS[declared.op], f"column {declared.column} is {found.type!r}"
    annotation, metadata = field.annotation, tuple(field.metadata)
    if operator.is_text and python_type_of(found.type) not in (str, object):
        yield f"{where}: {there}, {declared.op} is for text. Use another operator."
    elif operator.is_list and (annotation := list_item(annotation)) is None:
        yield f"{where} takes one value. Declare it Filter[list[...]]."
    elif not can_compare(annotation, metadata, found.type):
        yield f"{where} is {named(annotation)}, but {there}. Change either."
    elif needed := unfit_input(annotation, metadata, found.type):
        yield f"{where} takes what {declared.column} cannot hold. Declare it db.types.{needed}."
