"""What a resource shows of its table: its fields, which of them are written, and its key."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from .catalog import Column, Relation
from .forms import Form, form_of
from .names import Names, attributes_of, variable_of

_TIMES = ("timestamptz", "timestamp")
_ETAGS = ("uuid", "text", "varchar", "int2", "int4", "int8")
#: Columns beyond these have no filters of their own, unless an index begins with them.
MOST_FILTERED = 12


@dataclass(frozen=True)
class Field:
    """A column as a field of the models."""

    column: Column
    attribute: str
    form: Form
    nullable: bool
    #: Whether a response leaves it out.
    is_hidden: bool = False
    in_create: bool = True
    in_patch: bool = True

    @property
    def name(self) -> str:
        """The column's name, which is the field's in JSON."""
        return self.column.name


class Shape:
    """The resource of a table, or a read-only one of a view with the columns of `key`."""

    def __init__(self, relation: Relation, names: Names, key: Sequence[str] = ()) -> None:
        self.relation = relation
        self.names = names
        self.key_columns = tuple(key) or relation.primary_key
        self.is_view = relation.is_view

    def _as_such(self, name: str, types: Sequence[str]) -> bool:
        """Whether the table has the column `name` with the meaning that it has for an entity."""
        column = self.relation.columns.get(name)
        is_key = name in self.key_columns
        return column is not None and not self.is_view and not is_key and column.type.name in types

    @cached_property
    def etag(self) -> Column | None:
        """The column of the ETag."""
        return self.relation.columns["etag"] if self._as_such("etag", _ETAGS) else None

    @cached_property
    def gives_etag(self) -> bool:
        """Whether a new row is given its etag by the service."""
        return self.etag is not None and self.etag.default is None and self.etag.is_written

    @cached_property
    def keeps_deleted(self) -> bool:
        """Whether a deleted row stays."""
        is_time = self._as_such("deleted_at", _TIMES)
        return is_time and not self.relation.columns["deleted_at"].not_null

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The fields; those that a response leaves out are the last."""
        known = {"etag": self.etag is not None, "deleted_at": self.keeps_deleted}
        known["updated_at"] = self._as_such("updated_at", _TIMES)
        foreign = [name for name, is_such in known.items() if not is_such]
        attributes = attributes_of(list(self.relation.columns), foreign)
        fields = [
            self._field(column, attributes[name])
            for name, column in self.relation.columns.items()
            if not self._is_left_out(column)
        ]
        return tuple(sorted(fields, key=lambda one: one.is_hidden))

    def _is_left_out(self, column: Column) -> bool:
        """What is there for the database to search in."""
        return column.type.name == "tsvector" and not column.is_required

    def _field(self, column: Column, attribute: str) -> Field:
        name = column.name
        is_key = name in self.key_columns
        hidden = name == "etag" and self.etag is not None
        hidden |= name == "deleted_at" and self.keeps_deleted
        in_create = column.is_written and not hidden and not self._is_made(column)
        is_time = name in ("created_at", "updated_at") and self._as_such(name, _TIMES)
        form = form_of(column)
        return Field(
            column,
            attribute,
            form,
            nullable=not is_key if self.is_view else not column.not_null,
            is_hidden=hidden,
            in_create=in_create and not (is_time and not column.is_required),
            in_patch=in_create and not is_key and not is_time,
        )

    def _is_made(self, column: Column) -> bool:
        """Whether the database makes the key of a row."""
        default = column.default or ""
        is_counted = default.startswith("nextval(") or "uuid" in default
        return self.key_columns == (column.name,) and is_counted

    @cached_property
    def by_name(self) -> dict[str, Field]:
        """The fields by their column."""
        return {one.name: one for one in self.fields}

    @cached_property
    def key(self) -> tuple[Field, ...]:
        """The fields of the key, in its order."""
        return tuple(self.by_name[name] for name in self.key_columns)

    @cached_property
    def created(self) -> tuple[Field, ...]:
        """The fields of a new row."""
        return tuple(one for one in self.fields if one.in_create)

    @cached_property
    def patched(self) -> tuple[Field, ...]:
        """The fields that may be changed."""
        return tuple(one for one in self.fields if one.in_patch)

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The parameter of the path for each column of the key."""
        found: dict[str, str] = {}
        for one in self.key:
            own = one.attribute if one.attribute != "id" else f"{self.names.singular}_id"
            name = own if variable_of(own) == own else f"{own.strip('_')}_key"
            found[one.name] = name if name != self.names.variable else f"{name}_key"
        return found

    @cached_property
    def filtered(self) -> tuple[Field, ...]:
        """The fields that the list is filtered by."""
        few = len(self.fields) <= MOST_FILTERED
        foreign = {name for key in self.relation.foreign_keys for name in key.columns}
        leading = self.relation.leading | foreign
        return tuple(
            one
            for one in self.fields
            if one.form.operators
            and not one.is_hidden
            and one.name not in (*self.key_columns[:1], "created_at", "updated_at")
            and is_parameter(one.name)
            and (few or one.name in leading)
        )

    @cached_property
    def sorted(self) -> tuple[Field, ...]:
        """The fields that the list may be ordered by, that of the key first."""
        foreign = {name for key in self.relation.foreign_keys for name in key.columns}
        others = [one for one in self.filtered if one.form.is_sortable and one.name not in foreign]
        first = [one for one in self.key[:1] if one.form.path and is_parameter(one.name)]
        return tuple(first + [one for one in others[:3] if one not in first])

    @cached_property
    def foreign(self) -> set[str]:
        """The columns of which each refers to another table alone."""
        return {key.columns[0] for key in self.relation.foreign_keys if len(key.columns) == 1}


def is_parameter(name: str) -> bool:
    """Whether `<name>__eq` can be a field that means the column."""
    return name.isidentifier() and name.isascii() and name.islower() and name[0] != "_"
