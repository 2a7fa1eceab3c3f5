"""What a view has to know of the tables, which the cache remembers for the time without origin."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.exc import CompileError
from sqlalchemy.types import NullType, TypeEngine

from ..data.dal import DataAccessLayer

DIALECT = postgresql.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class ForeignKey:
    """Columns that refer to columns of another table."""

    columns: tuple[str, ...]
    table: str
    target: tuple[str, ...]


@dataclass(frozen=True)
class ColumnInfo:
    """A column: its type in PostgreSQL's words, and its fingerprint with the rest."""

    name: str
    type: str
    nullable: bool


@dataclass(frozen=True)
class TableInfo:
    """A table; equal to what the cache remembers unless the table has changed."""

    name: str
    schema: str | None
    columns: tuple[ColumnInfo, ...]
    key: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...]
    unique: tuple[tuple[str, ...], ...]
    is_view: bool

    @property
    def full_name(self) -> str:
        """`name`, or `schema.name` outside of the default schema."""
        return f"{self.schema}.{self.name}" if self.schema else self.name

    @property
    def sql(self) -> str:
        """The name, quoted."""
        return ".".join(quoted(part) for part in (self.schema, self.name) if part)

    def column(self, name: str) -> ColumnInfo | None:
        """The column of this name, if there is one."""
        return next((one for one in self.columns if one.name == name), None)

    def to_json(self) -> str:
        """Text that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "TableInfo":
        """What `to_json` was called on."""
        found = json.loads(text)
        found["columns"] = tuple(ColumnInfo(**one) for one in found["columns"])
        found["foreign_keys"] = tuple(
            ForeignKey(tuple(one["columns"]), one["table"], tuple(one["target"]))
            for one in found["foreign_keys"]
        )
        found["key"] = tuple(found["key"])
        found["unique"] = tuple(tuple(one) for one in found["unique"])
        return cls(**found)

    def table(self) -> Table:
        """A table for statements; the types are those that the dialect knows by name."""
        columns = [sa.Column(one.name, _type_of(one.type)) for one in self.columns]
        return Table(self.name, sa.MetaData(), *columns, schema=self.schema)


def describe(dal: DataAccessLayer, table: Table) -> TableInfo:
    """What the reflection says of this table."""
    keys = dal.unique_keys(table).values()
    unique = (key.columns for key in keys if key.is_unique and not getattr(key, "predicate", None))
    return TableInfo(
        table.name,
        table.schema,
        tuple(ColumnInfo(c.name, type_text(c.type), bool(c.nullable)) for c in table.c),
        tuple(column.name for column in table.primary_key.columns),
        tuple(
            ForeignKey(
                tuple(column.name for column in one.columns),
                one.referred_table.fullname,
                tuple(element.column.name for element in one.elements),
            )
            for one in sorted(table.foreign_key_constraints, key=lambda one: str(one.name))
        ),
        tuple(sorted(unique)),
        dal.is_view(table),
    )


def type_text(type_: TypeEngine[Any]) -> str:
    """PostgreSQL's name of a type; an enum with its labels."""
    if isinstance(type_, sa.Enum):
        return f"{type_.name}({', '.join(map(repr, type_.enums))})"
    try:
        return str(type_.compile(dialect=DIALECT))
    except CompileError:
        return "unknown"


def _type_of(text: str) -> TypeEngine[Any]:
    if text.endswith("[]"):
        item = _type_of(text.removesuffix("[]"))
        return item if isinstance(item, NullType) else postgresql.ARRAY(item)
    known: Any = ischema_names.get(text.partition("(")[0].strip().lower(), NullType)
    made: TypeEngine[Any] = (
        known(timezone="WITH TIME ZONE" in text) if text.startswith("TIME") else known()
    )
    return made


def quoted(name: str) -> str:
    """A name as an identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'
