"""Compares entities and query models with the reflected tables, once, at startup."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from inspect import isclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from pydantic import BeforeValidator, PlainValidator, TypeAdapter, ValidationError, WrapValidator
from pydantic.fields import FieldInfo
from sqlalchemy import ColumnElement, Table
from sqlalchemy.dialects.postgresql import CIDR, DOMAIN, INET
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import ARRAY, JSON, BigInteger, Integer, NullType, SmallInteger, TypeEngine

from ..data.dal import DataAccessLayer
from ..data.statements import column, column_name
from ..errors import UnknownColumn, UnknownTable
from ..paging.query import OPERATORS, DeclaredFilter, FilterModel
from ..types import iso_only
from .entity import ReadEntity

PLAIN = {bool, int, float, Decimal, str, bytes, date, datetime, time, timedelta, UUID}
#: Values of the first type are taken for values of the others.
WIDER = {int: (int, float, Decimal), float: (float, Decimal), Decimal: (Decimal, float)}
CONVERTING = (BeforeValidator, PlainValidator, WrapValidator)


class _Converted:
    """What a validator makes of whatever it gets: any type."""


class EntityMismatch(RuntimeError):
    """Entities or query models do not fit the database; `problems` has one sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("The models do not fit the database:\n- " + "\n- ".join(problems))


def check_entities(dal: DataAccessLayer, models: Iterable[type]) -> None:
    """Compare the fields of entities, query models and ORM models with the columns of their tables.

    Raises EntityMismatch with everything that does not fit: missing tables and columns, columns
    that may be NULL where the field may not be None, other types, filters that take values which
    their column cannot hold. Models without a table are left out. Raises NotReflected.
    """
    problems = [problem for model in models for problem in _problems(dal, model)]
    if problems:
        raise EntityMismatch(problems)


def _problems(dal: DataAccessLayer, model: type) -> Iterator[str]:
    if issubclass(model, DeclarativeBase):
        from ..orm.check import model_problems  # noqa: PLC0415 - whoever has models has imported it

        yield from model_problems(dal, model)
        return
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
        try:
            found = column(table, column_name(name, field))
        except UnknownColumn as error:
            yield f"{where}: {error} Rename the field or set its alias, or migrate."
            continue
        there = f"column {table.fullname}.{found.key}"
        types = list(_types(_annotation(field)))
        # PostgreSQL calls every column of a view nullable, which says nothing.
        nullable = getattr(found, "nullable", False) and not dal.is_view(table)
        if nullable and not {NoneType, Any, object} & set(types):
            yield f"{where}: {there} may be NULL. Declare the field `| None`, or migrate."
        if not any(_fits(one, found.type, reading=True) for one in types):
            yield f"{where} is {_named(types)}, but {there} is {found.type!r}. Change either."


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
    annotation = _annotation(field)
    types = list(_types(annotation))
    if operator.is_list:
        lists = [get_args(one)[0] for one in types if get_origin(one) is list]
        types = [one for item in lists for one in _types(item)]
    if operator.pattern and _python_type(found.type) not in (str, object):
        yield f"{where}: {there}, {declared.op} is for text. Use another operator."
    elif not types:
        yield f"{where} takes one value. Declare it Filter[list[...]]."
    elif not any(_fits(one, found.type, reading=False) for one in types):
        yield f"{where} is {_named(types)}, but {there}. Change either."
    elif needed := _needed_type(TypeAdapter(annotation), found.type, is_list=operator.is_list):
        yield f"{where} takes what {declared.column} cannot hold. Declare it dalkit.types.{needed}."


def _annotation(field: FieldInfo) -> Any:
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _types(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows; `_Converted` for one that a validator makes."""
    annotation = getattr(annotation, "__value__", annotation)  # type X = ...
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        converts = any(isinstance(m, CONVERTING) and m.func is not iso_only for m in metadata)
        for one in _types(inner):
            yield _Converted if converts and one is not NoneType else one
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _types(member)
    else:
        yield annotation


def _named(types: list[Any]) -> str:
    return " | ".join("None" if t is NoneType else getattr(t, "__name__", str(t)) for t in types)


def _fits(kind: Any, of: TypeEngine[Any], *, reading: bool) -> bool:
    """Whether a column's values are read as the type, or compared with it; in doubt they are."""
    of, python_type = _base_type(of), _python_type(of)
    if kind is NoneType:
        return False
    if kind in (Any, object, _Converted) or isinstance(of, NullType | JSON):
        return True
    if isinstance(of, ARRAY):
        items = [one for item in get_args(kind)[:1] for one in _types(item)]
        fit = (_fits(one, of.item_type, reading=reading) for one in items)
        return kind not in PLAIN and (not items or any(fit))
    if isinstance(of, INET | CIDR):  # asyncpg makes ipaddress objects of them
        return kind not in PLAIN
    if get_origin(kind) is Literal:
        return all(isinstance(value, python_type) for value in get_args(kind))
    if isclass(kind) and issubclass(kind, Enum):
        return all(isinstance(member.value, python_type) for member in kind)
    if not {kind, python_type} <= PLAIN:
        return True
    given, taken = (python_type, kind) if reading else (kind, python_type)
    return taken in WIDER.get(given, (given,))


def _base_type(of: TypeEngine[Any]) -> TypeEngine[Any]:
    """The type below a domain."""
    return _base_type(of.data_type) if isinstance(of, DOMAIN) else of


def _python_type(of: TypeEngine[Any]) -> type:
    """The Python type of a column's values, object when SQLAlchemy does not know it."""
    try:
        return _base_type(of).python_type
    except NotImplementedError:
        return object


def _needed_type(adapter: TypeAdapter[Any], of: TypeEngine[Any], *, is_list: bool) -> str:
    """The name in dalkit.types to declare if the adapter takes what the column cannot hold."""
    of, name, beyond = _base_type(of), "Text", ["\0"]
    if isinstance(of, Integer):
        bits = 16 if isinstance(of, SmallInteger) else 64 if isinstance(of, BigInteger) else 32
        name, beyond = f"Int{bits}", [-(2 ** (bits - 1)) - 1, 2 ** (bits - 1)]
    for value in beyond:
        with suppress(ValidationError):
            adapter.validate_python([value] if is_list else value)
            return name
    return ""
