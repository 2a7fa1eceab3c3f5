"""INSERT ... ON CONFLICT, with the conflict target taken from the reflected constraint."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Table, TextClause, literal_column, text
from sqlalchemy import column as bare_column
from sqlalchemy import table as bare_table
from sqlalchemy.dialects.postgresql import Insert, insert

from .columns import column
from .statements import value_binds
from .transaction import TransactionManager

#: The extra column of an upsert's row that tells an inserted row from an updated one.
CREATED = "__created"


class Target(NamedTuple):
    """The columns of a unique constraint, and the predicate when it is a partial index."""

    columns: tuple[str, ...]
    where: TextClause | None = None


def target_of(tx: TransactionManager, table: Table, constraint: str) -> Target:
    """The conflict target of a unique constraint, unique index or primary key by its name.

    Raises LookupError when the table has none of this name.
    """
    known = tx.dal.unique_constraints(table)
    if constraint not in known:
        raise LookupError(
            f"No unique constraint {constraint!r} on {table.fullname}. "
            f"There are: {', '.join(sorted(known)) or 'none'}."
        )
    return Target(known[constraint], _predicate(table, constraint))


def target_over(tx: TransactionManager, table: Table, key: Collection[str]) -> Target:
    """The conflict target whose columns are those of `key`.

    Raises UnknownColumn, and LookupError when no constraint makes the key unique: without one, two
    concurrent calls would both create.
    """
    for name in key:
        column(table, name)
    known = tx.dal.unique_constraints(table)
    for name, columns in known.items():
        if set(columns) == set(key) and _predicate(table, name) is None:
            return Target(columns)
    described = ", ".join(f"{name} ({', '.join(columns)})" for name, columns in known.items())
    raise LookupError(
        f"({', '.join(key)}) is not unique in {table.fullname}: pass the columns of one unique "
        f"constraint as the key and the rest as defaults. There are: {described or 'none'}."
    )


def insert_or_nothing(table: Table, names: tuple[str, ...], target: Target) -> Insert:
    """Insert one row unless it conflicts."""
    return _insert(table, names).on_conflict_do_nothing(
        index_elements=target.columns, index_where=target.where
    )


def insert_or_update(
    table: Table, names: tuple[str, ...], target: Target, update: Sequence[str]
) -> Insert:
    """Insert one row, or give the row that is there the new values of the `update` columns.

    With nothing to update, a column of the key is set to what it is, so that the row is returned.
    """
    statement = _insert(table, names)
    changed = {name: statement.excluded[name] for name in update or target.columns[:1]}
    return statement.on_conflict_do_update(
        index_elements=target.columns, index_where=target.where, set_=changed
    )


def created_flag(tx: TransactionManager, target: Target) -> ColumnElement[Any]:
    """Whether the returned row was inserted.

    PostgreSQL 18 shows the row as it was before. Earlier servers: a row version that an UPDATE
    made has xmax set, because ON CONFLICT locks the row first. Tables with partitions have no xmax.
    """
    version = tx.engine.dialect.server_version_info
    if version and version >= (18,):
        old = bare_table("old", bare_column(target.columns[0]))
        return old.c[target.columns[0]].is_(None).label(CREATED)
    return (literal_column("xmax") == literal_column("0")).label(CREATED)


def _insert(table: Table, names: tuple[str, ...]) -> Insert:
    return insert(table).values(value_binds(table, names))


def _predicate(table: Table, name: str) -> TextClause | None:
    for index in table.indexes:
        if index.name == name:
            where = index.dialect_options["postgresql"]["where"]
            return None if where is None else text(str(where))
    return None
