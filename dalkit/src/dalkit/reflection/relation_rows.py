"""The rows of the catalog, sorted by the relation that they describe."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from operator import attrgetter

from .catalog import Catalog, Relation, Rows

#: Names of a relation's columns by their number.
Names = Mapping[int, str]


@dataclass
class RelationRows:
    """What the catalog says about one relation; of a partition only its indexes are read."""

    relation: Relation
    columns: Rows = ()
    constraints: Rows = ()
    indexes: Rows = ()
    #: Those that are no tables of their own here.
    partitions: list["RelationRows"] = field(default_factory=list)

    @cached_property
    def names(self) -> Names:
        """The names of its columns by their number."""
        return {row.number: row.name for row in self.columns}


def rows_by_relation(catalog: Catalog) -> dict[int, RelationRows]:
    """The rows of each relation that shall become a table, by its oid."""
    columns, constraints = _grouped(catalog.columns), _grouped(catalog.constraints)
    indexes = _grouped(catalog.indexes)
    found = {
        one.oid: RelationRows(
            one, columns.get(one.oid, ()), constraints.get(one.oid, ()), indexes.get(one.oid, ())
        )
        for one in catalog.relations
    }
    for one in catalog.partitions:
        part = RelationRows(one, indexes=indexes.get(one.oid, ()))
        found[one.root or 0].partitions.append(part)
    return found


def _grouped(rows: Rows) -> dict[int, Rows]:
    """The statements order their rows by relation."""
    return {oid: list(group) for oid, group in groupby(rows, attrgetter("relation"))}
