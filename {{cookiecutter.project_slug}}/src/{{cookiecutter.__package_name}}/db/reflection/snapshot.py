"""What one look at the database found: tables, views, keys and constraints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import MetaData, Table

from ..errors import UnknownTable
from .unique_keys import UniqueKey

Constraints = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Reflection:
    """The tables of one moment. It never changes: a later look makes another one."""

    metadata: MetaData
    default_schema: str
    schemas: tuple[str, ...]
    #: Those of the default schema by `name`, and all of them by `schema.name`.
    tables: Mapping[str, Table]
    #: Unique keys and exclusion constraints, by the key of their table.
    unique_keys: Mapping[str, Sequence[UniqueKey]]
    #: Columns of constraints and unique indexes, by schema and name of a table or partition.
    constraints: Mapping[tuple[str, str], Constraints]

    def get_table(self, name: str) -> Table:
        """The table of this name or `schema.name`; raises UnknownTable."""
        try:
            return self.tables[name]
        except KeyError:
            raise UnknownTable(name, self.tables, self.schemas) from None

    def keys_of(self, name: str) -> Sequence[UniqueKey]:
        """Every unique key and exclusion constraint of a table; raises UnknownTable."""
        return self.unique_keys.get(self.get_table(name).key, ())

    def unique_constraints(self, name: str) -> dict[str, tuple[str, ...]]:
        """Name to columns of every unique key of a table; raises UnknownTable."""
        return {key.name: key.columns for key in self.keys_of(name) if key.is_unique}

    def unique_constraint(self, name: str) -> tuple[str, ...]:
        """The columns of the only unique key besides the primary key; raises LookupError."""
        keys = [key for key in self.keys_of(name) if key.is_unique and not key.is_primary]
        if len(keys) != 1:
            found = ", ".join(key.name for key in keys) or "none"
            raise LookupError(
                f"Table {name!r} has {len(keys)} unique constraints besides its primary key "
                f"({found}); name the one you mean with unique_constraints()."
            )
        return keys[0].columns

    def constraint_columns(
        self, constraint: str, table: str, schema: str | None
    ) -> tuple[str, ...]:
        """The columns of a constraint or unique index; empty when it is not known.

        PostgreSQL's errors name the partition, and its own index, for a partitioned table.
        """
        found = self.constraints.get((schema or self.default_schema, table), {})
        return found.get(constraint, ())
