"""A statement with its values written into the SQL, for COPY, which takes no parameters."""

from typing import Any, cast

import asyncpg
from sqlalchemy import ClauseElement, Executable
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.compiler import ExpandedState, SQLCompiler


async def with_literals(conn: AsyncConnection, statement: Executable) -> str:
    """The SQL of `statement`; PostgreSQL itself writes its values as literals of their types.

    SQLAlchemy's literal_binds has no literals for many types (arrays, intervals, jsonb), and
    asyncpg's copy_from_query(sql, *values) replaces `$1` wherever it stands, in a name as well.
    Compiled for "pyformat", percent signs in names and texts are doubled, so that Python's `%`
    puts the literals where the parameters were and nowhere else.
    """
    template, _ = _compiled(statement, _pyformat(conn.dialect))
    state, compiled = _compiled(statement, conn.dialect)
    values = _driver_values(state, compiled, conn.dialect)
    if not values:
        return template.statement % {}
    driver: asyncpg.Connection = (await conn.get_raw_connection()).driver_connection
    numbered = {name: f"${number}" for number, name in enumerate(values, start=1)}
    prepared = await driver.prepare(template.statement % numbered)
    types = [parameter.oid for parameter in prepared.get_parameters()]
    literals = await _literals(driver, types, list(values.values()))
    return template.statement % dict(zip(values, literals, strict=True))


def _pyformat(dialect: Dialect) -> Dialect:
    new: type[Any] = type(dialect)
    return cast(Dialect, new(paramstyle="pyformat"))


def _compiled(statement: Executable, dialect: Dialect) -> tuple[ExpandedState, SQLCompiler]:
    compiled = statement.compile(dialect=dialect) if isinstance(statement, ClauseElement) else None
    if not isinstance(compiled, SQLCompiler):
        raise TypeError(f"{type(statement).__name__} gives no rows that could be exported.")
    return compiled.construct_expanded_state(), compiled


def _driver_values(state: ExpandedState, compiled: SQLCompiler, dialect: Dialect) -> dict[str, Any]:
    """What asyncpg is given for each parameter, by the name that it has in the SQL."""
    values: dict[str, Any] = {}
    for key, bind in ((name, bind) for bind, name in compiled.bind_names.items()):
        process = bind.type.dialect_impl(dialect).bind_processor(dialect)
        name = compiled.escaped_bind_names.get(key, key)
        for part in state.parameter_expansion.get(name, [name]):
            convert = state.processors.get(part) or process
            value = state.parameters[part]
            values[part] = convert(value) if convert else value
    return values


async def _literals(driver: asyncpg.Connection, types: list[int], values: list[Any]) -> list[str]:
    """Each value as `CAST('...' AS type)`."""
    names = await driver.fetchval(
        "SELECT array_agg(format_type(oid, -1) ORDER BY place) "
        "FROM unnest($1::oid[]) WITH ORDINALITY AS given (oid, place)",
        types,
    )
    quoted = ", ".join(
        f"quote_nullable(CAST(${number} AS {name})::text)"
        for number, name in enumerate(names, start=1)
    )
    row = await driver.fetchrow(f"SELECT {quoted}", *values)
    return [f"CAST({literal} AS {name})" for literal, name in zip(row, names, strict=True)]
