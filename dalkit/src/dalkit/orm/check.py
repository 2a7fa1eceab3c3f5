"""Compares models with the database, once, at startup."""

from collections.abc import Iterator

from sqlalchemy import Table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, configure_mappers

from ..data.dal import DataAccessLayer
from ..data.statements import column
from ..errors import UnknownColumn, UnknownTable
from .reflected import is_reflected, problem_of


def model_problems(dal: DataAccessLayer, model: type[DeclarativeBase]) -> Iterator[str]:
    """A sentence for a table that is missing, for each missing column, for what is not mapped.

    Raises NotReflected.
    """
    if is_reflected(model):
        if problem := problem_of(model, dal):
            yield f"{model.__name__}: {problem}"
            return
    else:
        yield from _differences(dal, model)
    try:
        configure_mappers()
    except SQLAlchemyError as error:
        yield f"{model.__name__}: {error}"


def _differences(dal: DataAccessLayer, model: type[DeclarativeBase]) -> Iterator[str]:
    table = model.__table__
    if not isinstance(table, Table):
        return
    try:
        there = dal.get_table(table.fullname)
    except UnknownTable as error:
        yield f"{model.__name__}: {error}"
        return
    for declared in table.columns:
        try:
            column(there, declared.name)
        except UnknownColumn as error:
            yield f"{model.__name__}: {error} Rename the attribute's column, or migrate."
