"""What one look at the database found: tables, views, keys and constraints."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import MetaData, Table

from ..data.errors import UnknownTable
from .lazy_tables import LazyTables
from .unique_keys import UniqueKey


class Reflection:
    """The tables of one moment, each built when it is first asked for.

    What it knows never changes: a later look makes another one. Any thread may use it.
    """

    def __init__(
        self,
        tables: LazyTables,
        default_schema: str,
        schemas: Sequence[str],
        oids: Mapping[str, int],
        owners: Mapping[str, int],
    ) -> None:
        """`oids` of the default schema are by `name`, and all of them by `schema.name`.

        `owners` are the same for partitions, by `schema.name`: the oids of their tables.
        """
        self.default_schema = default_schema
        self.schemas = schemas
        self._all = tables
        self._oids = oids
        self._owners = owners
        self._tables: dict[str, Table] = {}

    @property
    def metadata(self) -> MetaData:
        """All tables; those that were not asked for are built now."""
        self._all.build()
        return self._all.metadata

    @property
    def metadata_so_far(self) -> MetaData:
        """The tables that are built."""
        return self._all.metadata

    @property
    def built(self) -> Collection[str]:
        """The names of these tables."""
        built = set(self._all.built)
        return [name for name, oid in self._oids.items() if oid in built]

    def build(self, names: Iterable[str] | None) -> None:
        """Build these, or all, before they are asked for; what is not there is passed over."""
        if names is not None:
            oids = [self._oids[name] for name in names if name in self._oids]
        self._all.build(None if names is None else oids)

    def get_table(self, name: str) -> Table:
        """The table of this name or `schema.name`; raises UnknownTable."""
        table = self._tables.get(name)
        if table is None:
            table = self._tables[name] = self._all.get(self._oid(name))
        return table

    def keys_of(self, name: str) -> Sequence[UniqueKey]:
        """Every unique key and exclusion constraint of a table; raises UnknownTable."""
        return self._all.keys(self._oid(name)).unique

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
        name = f"{schema or self.default_schema}.{table}"
        oid = self._owners.get(name) or self._oids.get(name)
        found = self._all.keys(oid).constraints.get(name, {}) if oid else {}
        return found.get(constraint, ())

    def _oid(self, name: str) -> int:
        try:
            return self._oids[name]
        except KeyError:
            raise UnknownTable(name, self._oids, self.schemas) from None
