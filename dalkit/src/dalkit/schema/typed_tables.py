"""Write the module of typed tables: what Postgres has, as SQLAlchemy's TypedColumns."""

import builtins
import keyword
import re
from collections.abc import Iterable

from sqlalchemy import Connection, Inspector, inspect

from .column_source import column_source
from .python_source import IMPORTS, call, literal
from .table_source import constraints_and_indexes

DOCSTRING = '''"""The database's tables, typed: written by `db tables`, compared by alembic.

To change the schema: edit a class, run `alembic revision --autogenerate -m "..."`, read and correct
the migration, upgrade, and run `db tables` again. A class types a reflected table as well:
`dal.get_table("name").with_cols(NameColumns)`; for a view that is its only use.
"""
'''


def render(connection: Connection, schemas: Iterable[str | None] = (None,)) -> str:
    """Return the module's text for the tables and views of `schemas`, None being the default."""
    inspector = inspect(connection)
    body = ""
    for named in schemas:
        schema = None if named == inspector.default_schema_name else named
        tables = set(inspector.get_table_names(schema)) - {"alembic_version"}
        views = inspector.get_view_names(schema) + inspector.get_materialized_view_names(schema)
        for name in sorted(tables):
            body += _columns(inspector, name, schema) + _table(inspector, name, schema)
        body += "".join(_columns(inspector, name, schema) for name in sorted(views))
    metadata = "\nmetadata = sa.MetaData(naming_convention=NAMING_CONVENTION)\n"
    return f"{DOCSTRING}\n{_imports(body)}{metadata}{body}"


def _imports(body: str) -> str:
    """Return the imports that the body needs, in ruff's order."""
    used = [line for name, line in IMPORTS.items() if re.search(rf"\[{name}\b", body)]
    standard = "".join(f"{line}\n" for line in used) + "\n" * bool(used)
    dialect = "from sqlalchemy.dialects import postgresql as pg\n" if "pg." in body else ""
    own = "\nfrom .db.schema.naming import NAMING_CONVENTION\n"
    return standard + "import sqlalchemy as sa\n" + dialect + own


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
    before = f"{variable} = "
    return f"\n\n{before}{call('sa.Table', *arguments, **options, before=before)}\n"


def _qualified(name: str, schema: str | None) -> str:
    return f"{schema}.{name}" if schema else name


def _identifier(name: str) -> str:
    """Return a name for the module's variable that shadows neither a builtin nor the imports."""
    plain = re.sub(r"\W", "_", name)
    taken = plain in {"sa", "pg", "metadata", *IMPORTS, *dir(builtins), *keyword.kwlist}
    return plain + "_" if taken else plain


def _class(name: str, schema: str | None) -> str:
    words = re.split(r"[\W_]+", _qualified(name, schema))
    return "".join(word[:1].upper() + word[1:] for word in words) + "Columns"
