"""The columns that an error of PostgreSQL means when it names a constraint."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Row

from .catalog import Catalog

Columns = Mapping[str, tuple[str, ...]]
Names = Mapping[tuple[int, int], str]


def constraint_columns(catalog: Catalog, names: Names) -> dict[tuple[str, str], Columns]:
    """Name to columns of every constraint and unique index, by schema and name of its table.

    For partitions too: errors name them instead of the table, and their own indexes. `names` of
    columns are by the oid of their relation and their number.
    """
    found: dict[int, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for row in catalog.constraints:
        found[row.relation][row.name] = tuple(names[row.relation, key] for key in row.keys)
    words = _words(names)
    for row in catalog.indexes:
        if row.is_unique or row.is_exclusion:
            found[row.relation].setdefault(row.name, _of_index(row, names, words[row.relation]))
    by_name: dict[tuple[str, str], Columns] = {
        (one.schema, one.name): found[one.oid] for one in catalog.relations
    }
    renamed = _renamed(catalog.indexes)
    for one in catalog.partitions:
        of_table = found[one.root or 0]
        own = {new: of_table[old] for new, old in renamed[one.oid] if old in of_table}
        by_name[one.schema, one.name] = {**of_table, **own}
    return by_name


def _of_index(row: Row[Any], names: Names, known: Iterable[str]) -> tuple[str, ...]:
    """Its columns and those that its expressions name."""
    in_texts = set(re.findall(r"\w+", " ".join(filter(None, row.expressions or []))))
    keys = [names.get((row.relation, number)) for number in row.keys[: row.key_count]]
    return tuple(name for name in known if name in in_texts or name in keys)


def _words(names: Names) -> defaultdict[int, list[str]]:
    words: defaultdict[int, list[str]] = defaultdict(list)
    for (relation, _), name in names.items():
        words[relation].append(name)
    return words


def _renamed(indexes: Iterable[Row[Any]]) -> defaultdict[int, list[tuple[str, str]]]:
    """The names of partitions' indexes, each with that of the table's index it belongs to."""
    by_oid = {row.oid: row.name for row in indexes}
    renamed: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
    for row in indexes:
        if row.root in by_oid:
            renamed[row.relation].append((row.name, by_oid[row.root]))
    return renamed
