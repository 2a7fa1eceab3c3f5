"""Write the module of typed tables: what Postgres has, as SQLAlchemy's TypedColumns."""

import builtins
import keyword
import re
from collections.abc import Iterable

from sqlalchemy import Connection, Inspector, inspect

from .column_source import column_source
from .python_source import call, literal
from .table_source import constraints_and_indexes

DOCSTRING = '''"""The database's tables, typed. Written by the command `db tables`; alembic compares with it.

To change the schema: edit a class, run `alembic revision --autogenerate -m "..."`, read and correct
the migration, upgrade, and run `db tables` again. A class types a reflected table as well:
`dal.get_table("name").with_cols(NameColumns)`; for a view that is its only use.
"""
'''


def render(connection: Connection, schemas: Iterable[str | None] = (None,)) -> str:
    """Return the module's text for the tables and views of `schemas`; None is the default schema."""
    inspector = inspect(connection)
    body = ""
    for schema in schemas:
        tables = set(inspector.get_table_names(schema)) - {"alembic_version"}
        views = inspector.get_view_names(schema) + inspector.get_materialized_view_names(schema)
        for name in sorted(tables):
            body += _columns(inspector, name, schema) + _table(inspector, name, schema)
        body += "".join(_columns(inspector, name, schema) for name in sorted(views))
    metadata = "\nmetadata = sa.MetaData(naming_convention=NAMING_CONVENTION)\n"
    return f"{DOCSTRING}\n{_imports(body)}{metadata}{body}"


def _imports(body: str) -> str:
    """Return the imports that the body needs, in ruff's order."""
    modules = [name for name in ("datetime", "decimal", "uuid") if f"{name}." in body]
    lines = [f"import {name}" for name in modules]
    if "Any" in body:
        lines.append("from typing import Any")
    standard = "\n".join(lines) + "\n\n" if lines else ""
    dialect = "from sqlalchemy.dialects import postgresql as pg\n" if "pg." in body else ""
    return f"{standard}import sqlalchemy as sa\n{dialect}\nfrom .db.naming import NAMING_CONVENTION\n"


def _columns(inspector: Inspector, name: str, schema: str | None) -> str:
    """Return the class for a table or view."""
    key = inspector.get_pk_constraint(name, schema)["constrained_columns"]
    lines = [column_source(column, key) for column in inspector.get_columns(name, schema)]
    docstring = f'    """Columns of {_qualified(name, schema)}."""\n\n'
    return f"\n\nclass {_class(name, schema)}(sa.TypedColumns):\n{docstring}{''.join(lines)}"


def _table(inspector: Inspector, name: str, schema: str | None) -> str:
    """Return the table's assignment."""
    options = {"schema": literal(schema)} if schema else {}
    if comment := inspector.get_table_comment(name, schema)["text"]:
        options["comment"] = literal(comment)
    parts = constraints_and_indexes(inspector, name, schema)
    variable = _identifier(_qualified(name, schema))
    arguments = [literal(name), "metadata", _class(name, schema), *parts]
    return f"\n\n{variable} = " + call("sa.Table", *arguments, **options, before=f"{variable} = ") + "\n"


def _qualified(name: str, schema: str | None) -> str:
    return f"{schema}.{name}" if schema else name


def _identifier(name: str) -> str:
    """Return a name for the module's variable that shadows neither a builtin nor the imports."""
    plain = re.sub(r"\W", "_", name)
    taken = {"sa", "pg", "metadata", "datetime", "decimal", "uuid", "Any", *dir(builtins)}
    return plain + "_" if plain in taken or keyword.iskeyword(plain) else plain


def _class(name: str, schema: str | None) -> str:
    words = re.split(r"[\W_]+", _qualified(name, schema))
    return "".join(word[:1].upper() + word[1:] for word in words) + "Columns"
