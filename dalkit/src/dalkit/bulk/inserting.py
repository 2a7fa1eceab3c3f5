"""The plain way to move staged rows: into one table, column by column."""

from collections.abc import Sequence

from sqlalchemy import Insert, Table, select
from sqlalchemy.dialects.postgresql import insert


def insert_from(staging: Table, table: Table, conflict: Sequence[str] = ()) -> Insert:
    """INSERT the staged columns; rows that are there already, by the columns of a unique
    constraint in `conflict`, are updated. Two staged rows of one key are an error (SQLSTATE 21000).
    """
    names = staging.c.keys()
    new = insert(table).from_select(names, select(*staging.c))
    if not conflict:
        return new
    changed = {name: new.excluded[name] for name in names if name not in conflict}
    if not changed:
        return new.on_conflict_do_nothing(index_elements=conflict)
    return new.on_conflict_do_update(index_elements=conflict, set_=changed)
