"""Rows as pydantic models."""

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from sqlalchemy import ColumnElement, Executable, FromClause

from .columns import column
from .transaction import Parameters, TransactionManager

M = TypeVar("M", bound=BaseModel)


@cache
def column_names(model: type[BaseModel]) -> tuple[str, ...]:
    """The columns that the fields of a model are read from: a field's alias, or else its name."""
    return tuple(column_name(name, field) for name, field in model.model_fields.items())


def column_name(name: str, field: FieldInfo) -> str:
    """The column that this field is read from."""
    alias = field.validation_alias
    return alias if isinstance(alias, str) else name


def columns_for(model: type[BaseModel], source: FromClause) -> list[ColumnElement[Any]]:
    """The columns of `source` that the model has a field for; raises UnknownColumn."""
    return [column(source, name) for name in column_names(model)]


@cache
def _list_of(model: type[M]) -> TypeAdapter[list[M]]:
    return TypeAdapter(list[model])  # type: ignore[valid-type]


def as_entities(model: type[M], rows: list[Mapping[str, Any]] | list[dict[str, Any]]) -> list[M]:
    """The rows as models; raises pydantic's ValidationError when a row does not fit."""
    return _list_of(model).validate_python(rows)


async def fetch_entities(
    tx: TransactionManager, model: type[M], statement: Executable, parameters: Parameters = None
) -> list[M]:
    """All rows of any statement, as models of a join, an aggregate or a view for example."""
    return as_entities(model, await tx.fetch_all(statement, parameters))


async def fetch_entity(
    tx: TransactionManager, model: type[M], statement: Executable, parameters: Parameters = None
) -> M | None:
    """The first row of any statement as a model, or None."""
    row = await tx.fetch_one(statement, parameters)
    return None if row is None else model.model_validate(row)
