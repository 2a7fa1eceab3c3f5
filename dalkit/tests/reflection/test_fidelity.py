"""What is read from the catalog is what SQLAlchemy's own reflection reads."""

import re
import warnings
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from dalkit import DataAccessLayer

#: SQLAlchemy knows the types of extensions only in schemas of the search_path, drops the length of
#: a domain's type, does not know domains over domains and arrays, and makes a primary key with two
#: counters that it refuses later.
BETTER = {"ci", "hs", "short", "shorter", "shorts", "pair", "b", "c"}
IDENTITY = ("always", "start", "increment", "minvalue", "maxvalue", "cycle", "cache")
PARTITIONS = {"zoo.part_2025", "zoo.part_2026", "zoo.part_2026_1"}


@pytest.fixture(scope="session")
async def plain(zoo_engine: AsyncEngine) -> sa.MetaData:
    """MetaData.reflect() of the same schemas, with everything qualified."""
    metadata = sa.MetaData()
    async with zoo_engine.connect() as conn:
        await conn.execute(sa.text("SET LOCAL search_path = ''"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for schema in ("zoo", "Other"):
                await conn.run_sync(metadata.reflect, schema=schema, views=True)
    return metadata


def described(column: sa.Column[Any]) -> dict[str, Any]:
    """A column's properties, comparable."""
    default, identity, computed = column.server_default, column.identity, column.computed
    return {
        "type": repr(column.type),
        "schema": getattr(column.type, "schema", None),
        "nullable": column.nullable,
        "primary_key": column.primary_key,
        "autoincrement": column.autoincrement,
        "comment": column.comment,
        "default": str(default.arg) if isinstance(default, sa.DefaultClause) else None,
        "computed": computed is not None and (str(computed.sqltext), computed.persisted),
        "identity": None if identity is None else [getattr(identity, name) for name in IDENTITY],
    }


def constraints(table: sa.Table) -> dict[Any, Any]:
    """A table's constraints, comparable."""
    return {one.name: constraint(one) for one in table.constraints if one.name}


def constraint(one: Any) -> Any:
    """A constraint, comparable."""
    columns = [column.name for column in one.columns] if hasattr(one, "columns") else []
    common = (type(one).__name__, columns)
    if isinstance(one, sa.ForeignKeyConstraint):
        targets = [element.target_fullname for element in one.elements]
        deferral = (one.deferrable, one.initially)
        return (*common, targets, one.ondelete, one.onupdate, one.match, *deferral)
    if isinstance(one, sa.CheckConstraint):
        return (*common, re.sub("[()]", "", str(one.sqltext)))
    return (*common, one.dialect_options["postgresql"].get("nulls_not_distinct") or None)


def indexes(table: sa.Table) -> dict[Any, Any]:
    """A table's indexes, comparable."""
    return {index.name: an_index(index) for index in table.indexes}


def an_index(index: sa.Index) -> Any:
    """An index, comparable."""
    options = index.dialect_options["postgresql"]
    where = None if options["where"] is None else str(options["where"]).replace(" ", "")
    elements = [str(getattr(one, "name", one)) for one in index.expressions]
    return index.unique, elements, where, options["include"] or [], options["using"]


def test_the_same_tables(zoo: DataAccessLayer, plain: sa.MetaData) -> None:
    """Only, SQLAlchemy follows foreign keys into other schemas, and has every partition."""
    theirs = set(plain.tables) - PARTITIONS - {"outside.country"}
    assert set(zoo.metadata.tables) - {"zoo.far"} == theirs


def test_the_same_columns(zoo: DataAccessLayer, plain: sa.MetaData) -> None:
    for name, table in zoo.metadata.tables.items():
        if name == "zoo.far":
            continue
        assert table.c.keys() == plain.tables[name].c.keys()
        assert table.comment == plain.tables[name].comment
        for column in table.c:
            if column.name not in BETTER:
                assert described(column) == described(plain.tables[name].c[column.name]), column


def test_the_same_constraints_and_indexes(zoo: DataAccessLayer, plain: sa.MetaData) -> None:
    outside = re.compile(r"visitor_country_fkey|of_part_part_id_day_fkey_?[123]")
    for name, table in zoo.metadata.tables.items():
        if name == "zoo.far":
            continue
        theirs = constraints(plain.tables[name])
        ours = constraints(table)
        assert ours == {key: value for key, value in theirs.items() if not outside.fullmatch(key)}
        assert indexes(table) == indexes(plain.tables[name])
