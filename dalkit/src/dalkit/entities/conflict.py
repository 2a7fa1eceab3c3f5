"""INSERT ... ON CONFLICT, with the conflict target taken from the reflected constraint."""

from collections.abc import Collection, Sequence
from copy import copy
from typing import Any, NamedTuple

from pydantic import BaseModel
from sqlalchemy import Boolean, Executable, Table, case, false, literal_column
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.dialects.postgresql.dml import OnConflictDoUpdate
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.dml import Insert as AnyInsert
from sqlalchemy.sql.dml import ReturningInsert

from ..data.statements import cached_per_table, column, insert_row
from ..data.transaction import TransactionManager

#: The extra column of an upsert's row that tells an inserted row from an updated one.
CREATED = "__created"


class Target(NamedTuple):
    """The columns or expressions of a unique key, and its predicate when it is a partial index."""

    elements: tuple[str, ...]
    where: str = ""


def target_of(tx: TransactionManager, table: Table, constraint: str) -> Target:
    """The conflict target of a unique constraint, unique index or primary key by its name.

    Raises LookupError when the table has none of this name, and for one that PostgreSQL refuses:
    deferrable, temporal, an exclusion constraint, an index that is not valid.
    """
    known = tx.dal.unique_keys(table)
    if (key := known.get(constraint)) is None:
        names = ", ".join(sorted(known)) or "none"
        raise LookupError(
            f"No unique constraint {constraint!r} on {table.fullname}. There are: {names}."
        )
    if key.obstacle:
        raise LookupError(
            f"{constraint!r} on {table.fullname} cannot be a conflict target: {key.obstacle}."
        )
    return Target(key.columns, key.predicate)


def target_over(tx: TransactionManager, table: Table, key: Collection[str]) -> Target:
    """The conflict target whose columns are those of `key`.

    Raises UnknownColumn, and LookupError when no constraint makes the key unique: without one, two
    concurrent calls would both create.
    """
    for name in key:
        column(table, name)
    known = tx.dal.unique_keys(table)
    for one in known.values():
        if one.is_plain and set(one.columns) == set(key):
            return Target(one.columns)
    described = ", ".join(f"{one.name} ({', '.join(one.columns)})" for one in known.values())
    raise LookupError(
        f"({', '.join(key)}) is not unique in {table.fullname}: pass the columns of one unique "
        f"constraint as the key and the rest as defaults. There are: {described or 'none'}."
    )


def on_conflict(
    new: Insert, names: Sequence[str], target: Target, update: Sequence[str] | None
) -> Insert:
    """The INSERT of the columns `names`, which changes the columns `update` of a row that is there.

    None leaves such a row alone. Without any, a column is set to what it is, so that the row is
    returned.
    """
    columns = new.table.c
    key: dict[str, Any] = {
        "index_elements": [n if n in columns else literal_column(n) for n in target.elements],
        "index_where": literal_column(target.where) if target.where else None,
    }
    if update is None:
        return new.on_conflict_do_nothing(**key)
    same = [name for name in target.elements if name in columns] or names
    changes = {name: new.excluded[name] for name in update or same[:1]}
    return new.on_conflict_do_update(set_=changes, **key)


def returning_created(statement: AnyInsert, dialect: Dialect) -> ReturningInsert[Any]:
    """The INSERT that returns, as CREATED, whether the row was inserted.

    PostgreSQL 18 shows the row as it was before, of which even ctid is NULL when there was none:
    a column of the key may be NULL in a row that was there, with NULLS NOT DISTINCT.
    Earlier servers show nothing that holds for tables with partitions, too (these have no xmax):
    there the condition of DO UPDATE, which is asked for a row that is there, leaves a mark for
    RETURNING, which is next and wipes it off.
    """
    version: Any = dialect.server_version_info
    if version and version >= (18,):
        return statement.returning(literal_column("old.ctid").is_(None).label(CREATED))
    return _marking(statement).returning(_WAS_CREATED.label(CREATED))


_MARK = literal_column("set_config('dalkit.updated', '1', true) = '1'", Boolean)
_WAS_CREATED = literal_column(
    "CASE WHEN current_setting('dalkit.updated', true) = '1' "
    "THEN set_config('dalkit.updated', '', true) = '1' ELSE true END",
    Boolean,
)


def _marking(statement: AnyInsert) -> AnyInsert:
    clause = copy(statement._post_values_clause)
    if not isinstance(clause, OnConflictDoUpdate):
        return statement
    holds = clause.update_whereclause
    # CASE, unlike AND, asks in this order.
    clause.update_whereclause = _MARK if holds is None else case((holds, _MARK), else_=false())
    marking = statement._generate()
    marking._post_values_clause = clause
    return marking


@cached_per_table
def upsert_row(
    table: Table,
    model: type[BaseModel],
    names: tuple[str, ...],
    target: Target,
    update: tuple[str, ...] | None,
    dialect: Dialect,
) -> Executable:
    """INSERT of one row with `on_conflict`; it returns the model's columns and CREATED."""
    upsert = on_conflict(insert_row(table, model, names), names, target, update)
    return returning_created(upsert, dialect)
