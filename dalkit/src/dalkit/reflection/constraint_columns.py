"""The columns that an error of PostgreSQL means when it names a constraint."""

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from .relation_rows import Names, RelationRows

Columns = Mapping[str, tuple[str, ...]]


def constraint_columns(rows: RelationRows) -> dict[str, Columns]:
    """Name to columns of every constraint and unique index, by the qualified name of its table.

    For partitions too: errors name them instead of the table, and their own indexes.
    """
    names = rows.names
    found = {row.name: tuple(names[key] for key in row.keys) for row in rows.constraints}
    for row in rows.indexes:
        if row.is_unique or row.is_exclusion:
            found.setdefault(row.name, _of_index(row, names))
    by_oid = {row.oid: row.name for row in rows.indexes}
    by_table: dict[str, Columns] = {rows.relation.qualified: found}
    for part in rows.partitions:
        renamed = ((row.name, by_oid.get(row.root, "")) for row in part.indexes)
        own = {new: found[old] for new, old in renamed if old in found}
        by_table[part.relation.qualified] = {**found, **own}
    return by_table


def _of_index(row: Row[Any], names: Names) -> tuple[str, ...]:
    """Its columns and those that its expressions name."""
    in_texts = set(re.findall(r"\w+", " ".join(filter(None, row.expressions or []))))
    keys = row.keys[: row.key_count]
    return tuple(name for number, name in names.items() if name in in_texts or number in keys)
