"""Constraints and indexes of reflected tables."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Constraint,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Row,
    UniqueConstraint,
)
from sqlalchemy.schema import conv

from .columns import sql

_ACTIONS = {"r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
Columns = Sequence[Column[Any]]


def check(row: Row[Any]) -> Constraint:
    """A CHECK constraint."""
    return CheckConstraint(sql(row.condition), name=conv(row.name))


def primary_key(row: Row[Any], columns: Columns) -> Constraint:
    """A PRIMARY KEY; SQLAlchemy refuses one with more than one counter."""
    counters = [column for column in columns if column.autoincrement is True]
    for column in counters[1:]:
        column.autoincrement = "auto"
    return PrimaryKeyConstraint(*columns, name=conv(row.name), **_deferral(row))


def unique(row: Row[Any], columns: Columns, index: Row[Any]) -> Constraint:
    """A UNIQUE constraint, with some properties that only its index has."""
    options: dict[str, Any] = _deferral(row)
    if index.nulls_not_distinct:
        options["postgresql_nulls_not_distinct"] = True
    return UniqueConstraint(*columns, name=conv(row.name), **options)


def foreign_key(row: Row[Any], columns: Columns, target: Columns) -> Constraint:
    """A FOREIGN KEY."""
    return ForeignKeyConstraint(
        columns,
        target,
        name=conv(row.name),
        onupdate=_ACTIONS.get(row.on_update),
        ondelete=_ACTIONS.get(row.on_delete),
        match="FULL" if row.match == "f" else None,
        **_deferral(row),
    )


def index(row: Row[Any], elements: Sequence[Any], included: Sequence[str]) -> Index:
    """An index that belongs to no constraint."""
    options: dict[str, Any] = {"postgresql_include": included} if included else {}
    if row.predicate:
        options["postgresql_where"] = sql(row.predicate)
    if row.method != "btree":
        options["postgresql_using"] = row.method
    if row.nulls_not_distinct:
        options["postgresql_nulls_not_distinct"] = True
    return Index(conv(row.name), *elements, unique=row.is_unique, **options)


def _deferral(row: Row[Any]) -> dict[str, Any]:
    initially = {"initially": "DEFERRED"} if row.deferred else {}
    return {"deferrable": True, **initially} if row.deferrable else {}
