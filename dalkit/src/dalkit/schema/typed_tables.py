"""Write the module of typed tables: what Postgres has, as SQLAlchemy's TypedColumns."""

import builtins
import keyword
import re
import runpy
import subprocess
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from importlib.util import find_spec
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import UUID

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, Table, TypedColumns, inspect, types
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.types import TypeEngine

from .failures import SyncError
from .revisions import revision_of

DOCSTRING = '''"""The database's tables, typed: written by `db tables`, compared by alembic.

To change the schema: edit a class, run `alembic revision --autogenerate -m "..."`, read and correct
the migration, upgrade, and run `db tables` again. A class types a reflected table as well:
`dal.get_table("name").with_cols(NameColumns)`; for a view that is its only use.
"""
'''
WIDTH = 100
# What the written module imports where it needs it, and what it calls its own.
IMPORTS = {
    "dt": "import datetime as dt",
    "Decimal": "from decimal import Decimal",
    "Any": "from typing import Any",
    "UUID": "from uuid import UUID",
}
OWN = {"NAMING_CONVENTION", "metadata", "outside", "pg", "sa", *IMPORTS}
_PYTHON_TYPES = {kind: kind.__name__ for kind in (bool, bytes, float, int, str, Decimal, UUID)}
_DATES = {kind: f"dt.{kind.__name__}" for kind in (date, datetime, time, timedelta)}
_FOREIGN_KEY_OPTIONS = ("ondelete", "onupdate", "deferrable", "initially", "match")

Key = tuple[str | None, str]  # the schema of a table, None being the default, and its name


def render(connection: Connection, schemas: Iterable[str | None] = (None,)) -> str:
    """Return the module's text for the tables and views of `schemas`, None being the default.

    Where ruff is installed it is formatted; elsewhere it differs from a formatted file.
    """
    text = _Module(connection, schemas).text()
    if find_spec("ruff") is None:
        return text
    command = [sys.executable, "-m", "ruff", "format", "--isolated", f"--line-length={WIDTH}", "-"]
    options: Any = {"input": text, "capture_output": True, "encoding": "utf-8"}
    formatted = subprocess.run(command, check=False, **options)  # noqa: S603
    return text if formatted.returncode else formatted.stdout  # `write` tells what is wrong with it


def revision_in(text: str) -> str | None:
    """Return the revision that the text of a module, formatted or not, was written from."""
    found = re.search(r"""(["'])revision\1: (["'])(.*?)\2""", text)
    return found and found[3]


def write(path: Path, text: str) -> None:
    """Replace the module at `path`; leaves it and raises SyncError for text that does not work."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, "utf-8")
    try:
        metadata: MetaData = runpy.run_path(str(new))["metadata"]
        _ = metadata.sorted_tables  # finds what foreign keys refer to
        new.replace(path)
    except Exception as error:
        raise SyncError(
            f"{path.name} would not import, and is as it was ({type(error).__name__}: {error}). "
            "That is a defect of dalkit: report it with the table's definition."
        ) from error
    finally:
        new.unlink(missing_ok=True)


class _Module:
    """What is known of the database while its module is written."""

    def __init__(self, connection: Connection, schemas: Iterable[str | None]) -> None:
        self._inspector = inspector = inspect(connection)
        impl: Any = MigrationContext.configure(connection).impl
        self._leave_out_serial = impl.autogen_column_reflect
        self._revision = revision_of(connection)
        self._used = OWN | {*dir(builtins), *keyword.kwlist}
        self._attributes_of: dict[Key, dict[str, str]] = {}
        self._outside: dict[Key, tuple[str, dict[str, str]]] = {}
        self._tables: list[Key] = []
        self._views: list[Key] = []
        for named in schemas:
            schema = None if named == inspector.default_schema_name else named
            tables = set(inspector.get_table_names(schema)) - {"alembic_version"}
            views = inspector.get_view_names(schema) + inspector.get_materialized_view_names(schema)
            self._tables += [(schema, name) for name in sorted(tables)]
            self._views += [(schema, name) for name in sorted(views)]

    def text(self) -> str:
        """Return the whole module, not yet formatted."""
        body = "".join(self._class_and_table(*key) for key in self._tables)
        body += "".join(self._class(*key)[1] for key in self._views)
        used = [line for name, line in IMPORTS.items() if re.search(rf"\[{name}\b", body)]
        dialect = ["from sqlalchemy.dialects import postgresql as pg"] if "pg." in body else []
        own = ["import sqlalchemy as sa", "from dalkit.schema import NAMING_CONVENTION"]
        imports = [*used, "", *own, *dialect, ""]
        info = repr({"revision": self._revision or ""})
        made = _call("sa.MetaData", naming_convention="NAMING_CONVENTION", info=info)
        head = "\n".join([DOCSTRING, *imports, f"metadata = {made}", ""])
        return head + "".join(self._stubs()) + body

    def _stubs(self) -> Iterator[str]:
        """Yield the tables that only foreign keys lead to; alembic does not look at them."""
        if self._outside:
            yield "# Tables that foreign keys refer to, and that are not compared.\n"
            yield "outside = sa.MetaData()\n"
        for (schema, name), (variable, keys) in self._outside.items():
            columns = [_call("sa.Column", repr(name), key=repr(key)) for name, key in keys.items()]
            table = _call("sa.Table", repr(name), "outside", *columns, **_in(schema))
            yield f"{variable} = {table}\n"

    def _class_and_table(self, schema: str | None, name: str) -> str:
        class_name, source = self._class(schema, name)
        options = _in(schema)
        if comment := self._inspector.get_table_comment(name, schema)["text"]:
            options["comment"] = repr(comment)
        variable = self._unique(_qualified(schema, name))
        parts = self._constraints_and_indexes(schema, name)
        table = _call("sa.Table", repr(name), "metadata", class_name, *parts, **options)
        return f"{source}\n\n{variable} = {table}\n"

    def _class(self, schema: str | None, name: str) -> tuple[str, str]:
        """Return the name and the source of the class for a table or view."""
        words = re.split(r"[\W_]+", _qualified(schema, name))
        capitals = "".join(word[:1].upper() + word[1:] for word in words) + "Columns"
        class_name = self._unique("T" * capitals[0].isdigit() + capitals, "2")
        key = self._inspector.get_pk_constraint(name, schema)["constrained_columns"]
        attributes = self._attributes(schema, name)
        lines = []
        for column in self._inspector.get_columns(name, schema):
            # Leaves out what alembic leaves out of its comparison, too: the default of a serial.
            self._leave_out_serial(self._inspector, Table(name, MetaData()), column)
            lines.append(_column(column, attributes[column["name"]], is_key=column["name"] in key))
        docstring = repr(f"'Columns of {_qualified(schema, name)}.")[2:-1].replace('"', r"\"")
        head = f'\n\nclass {class_name}(sa.TypedColumns):\n    """{docstring}"""\n\n'
        return class_name, head + "".join(lines)

    def _unique(self, name: str, mark: str = "_") -> str:
        """Return an identifier that the module has not used yet."""
        plain = _identifier(name)
        while plain in self._used:
            plain += mark
        self._used.add(plain)
        return plain

    def _attributes(self, schema: str | None, table: str) -> dict[str, str]:
        """Return the key of each column in `table.c`: its name where that can be written so."""
        if (schema, table) not in self._attributes_of:
            keys: dict[str, str] = {}
            names = [column["name"] for column in self._inspector.get_columns(table, schema)]
            for name in names:
                key = name if _is_attribute(name) else _identifier(name).strip("_") + "_"
                key = key if _is_attribute(key) else f"n_{key}"
                while key in keys.values() or (key != name and key in names):
                    key += "_"
                keys[name] = key
            self._attributes_of[schema, table] = keys
        return self._attributes_of[schema, table]

    def _constraints_and_indexes(self, schema: str | None, table: str) -> Iterator[str]:
        inspector, keys = self._inspector, self._attributes(schema, table)
        by_name = partial(sorted, key=itemgetter("name"))
        for item in by_name(inspector.get_foreign_keys(table, schema)):
            yield self._foreign_key(item, keys)
        for item in by_name(inspector.get_unique_constraints(table, schema)):
            columns = [repr(keys[name]) for name in item["column_names"]]
            name, options = repr(item["name"]), _dialect(item, keys)
            yield _call("sa.UniqueConstraint", *columns, name=name, **options)
        for item in by_name(inspector.get_check_constraints(table, schema)):
            # conv: the name is complete, the naming convention must not prefix it again.
            name, options = f"sa.schema.conv({item['name']!r})", _dialect(item, keys)
            yield _call("sa.CheckConstraint", _sql(item["sqltext"]), name=name, **options)
        for item in by_name(inspector.get_indexes(table, schema)):
            if "duplicates_constraint" not in item:
                columns = [repr(item["name"]), *self._index_columns(item, keys)]
                options = {"unique": "True"} if item["unique"] else {}
                yield _call("sa.Index", *columns, **options, **_dialect(item, keys))

    def _foreign_key(self, item: Any, keys: dict[str, str]) -> str:
        schema, table = item["referred_schema"], item["referred_table"]
        schema = None if schema == self._inspector.default_schema_name else schema
        theirs = self._attributes(schema, table)
        columns = {name: theirs[name] for name in item["referred_columns"]}
        if (schema, table) in self._tables and "." not in table:
            targets = [repr(f"{_qualified(schema, table)}.{key}") for key in columns.values()]
        else:
            if (schema, table) not in self._outside:
                self._outside[schema, table] = self._unique(_qualified(schema, table)), {}
            variable, known = self._outside[schema, table]
            known |= columns
            targets = [f"{variable}.c.{key}" for key in columns.values()]
        given = item["options"]
        return _call(
            "sa.ForeignKeyConstraint",
            repr([keys[name] for name in item["constrained_columns"]]),
            f"[{', '.join(targets)}]",
            name=repr(item["name"]),
            **{name: repr(given[name]) for name in _FOREIGN_KEY_OPTIONS if given.get(name)},
        )

    def _index_columns(self, item: Any, keys: dict[str, str]) -> Iterator[str]:
        quote = self._inspector.dialect.identifier_preparer.quote
        for name in item.get("expressions", item["column_names"]):
            order = " ".join(item.get("column_sorting", {}).get(name, ())).replace("_", " ").upper()
            is_column = name in item["column_names"]
            if is_column and not order:
                yield repr(keys[name])
            else:
                yield _text(f"{quote(name) if is_column else name} {order}".rstrip())


def _column(column: Any, attribute: str, *, is_key: bool) -> str:
    """Return the line for a column as the inspector describes it."""
    name = column["name"]
    value = _python_type(column["type"]) + (" | None" if column["nullable"] else "")
    arguments = [repr(name)] * (attribute != name) + [_type_source(column["type"])]
    if identity := column.get("identity"):
        steps = {key: str(identity[key]) for key in ("start", "increment") if identity[key] != 1}
        cycle = {"cycle": "True"} if identity["cycle"] else {}
        arguments += [_call("sa.Identity", always=str(identity["always"]), **steps, **cycle)]
    if computed := column.get("computed"):
        persisted = str(computed["persisted"])
        arguments += [_call("sa.Computed", _sql(computed["sqltext"]), persisted=persisted)]
    options = {"primary_key": "True"} if is_key else {}
    if (default := column.get("default")) is not None:
        # As alembic writes it. It has Postgres compare other texts, and nextval() always differs.
        options["server_default"] = _text(re.sub(r"^(nextval\('.+?')::regclass\)", r"\1)", default))
    if column.get("comment") is not None:
        options["comment"] = repr(column["comment"])
    return f"    {attribute}: sa.Named[{value}] = {_call('sa.Column', *arguments, **options)}\n"


def _is_attribute(name: str) -> bool:
    """Whether `table.c.<name>` can be written, and is neither a method nor hides a type."""
    if name != _identifier(name) or keyword.iskeyword(name) or name.startswith("__"):
        return False
    # A column called `bytes` would stand for the type in the annotations below it.
    taken = OWN | {"list", *_PYTHON_TYPES.values()}
    return name not in taken and not hasattr(TypedColumns, name)


def _identifier(name: str) -> str:
    """Return the name with what Python cannot have in one replaced; Python reads NFKC of it."""
    plain = re.sub(r"\W", "_", unicodedata.normalize("NFKC", name))
    return plain if plain.isidentifier() else f"n_{plain}"


def _qualified(schema: str | None, name: str) -> str:
    return f"{schema}.{name}" if schema else name


def _dialect(item: Any, keys: dict[str, str]) -> dict[str, str]:
    """Return the options for Postgres (where, using, include, ...) that are set."""
    options = {}
    for name, value in item.get("dialect_options", {}).items():
        if value and isinstance(value, list):
            options[name] = repr([keys[column] for column in value])
        elif value and isinstance(value, dict):
            options[name] = repr({keys.get(key, key): of for key, of in value.items()})
        elif value:
            options[name] = _text(value) if name == "postgresql_where" else repr(value)
    return options


def _sql(value: str) -> str:
    """Return the source of a piece of SQL, in which a colon before a word is no bind parameter."""
    return repr(re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", value))


def _text(value: str) -> str:
    return f"sa.text({_sql(value)})"


def _in(schema: str | None) -> dict[str, str]:
    return {"schema": repr(schema)} if schema else {}


def _call(function: str, /, *arguments: str, **keywords: str) -> str:
    parts = [*arguments, *(f"{key}={source}" for key, source in keywords.items())]
    return f"{function}({', '.join(parts)})"


def _type_source(kind: TypeEngine[Any]) -> str:
    """Return the source of a reflected type; of one that SQLAlchemy does not know, a stand-in."""
    match kind:
        case types.NullType():
            return "sa.types.UserDefinedType[Any]()"
        case pg.ARRAY():
            return f"pg.ARRAY({_type_source(kind.item_type)})"
        case pg.ENUM():
            labels = [repr(label) for label in kind.enums]
            return _call("pg.ENUM", *labels, name=repr(kind.name), **_in(kind.schema))
        case pg.DOMAIN():
            base = _type_source(kind.data_type)
            return _call("pg.DOMAIN", repr(kind.name), base, **_in(kind.schema))
        case pg.JSON() | pg.HSTORE():
            return f"pg.{type(kind).__name__}()"
        case _:
            return f"{'pg' if hasattr(pg, type(kind).__name__) else 'sa'}.{kind!r}"


def _python_type(kind: TypeEngine[Any]) -> str:
    """Return the source of the type that asyncpg's values have, Any where it varies."""
    match kind:
        case pg.ARRAY():
            return f"list[{_python_type(kind.item_type)}]"
        case pg.DOMAIN():
            return _python_type(kind.data_type)
    try:
        return (_PYTHON_TYPES | _DATES).get(kind.python_type, "Any")
    except NotImplementedError:
        return "Any"
