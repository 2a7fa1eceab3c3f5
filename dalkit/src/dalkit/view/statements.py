"""A statement as text and values, which are the same for the same question."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from asyncpg import Range as DriverRange
from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql import Range

from .codec import dumps, loads, tagged
from .tables import DIALECT


class Statement(NamedTuple):
    """SQL with `$1`, `$2`, ... and their values."""

    sql: str
    values: tuple[Any, ...]

    @property
    def key(self) -> str:
        """Text that equal statements share."""
        return dumps([self.sql, tagged(list(self.values))])

    @classmethod
    def from_key(cls, key: str) -> "Statement":
        """The statement with this key."""
        sql, values = loads(key)
        return cls(sql, tuple(values))


def canonical(statement: Executable, parameters: Mapping[str, Any] | None) -> Statement:
    """The statement as PostgreSQL is to get it; raises CompileError and StatementError."""
    compiled: Any = statement.compile(  # type: ignore[attr-defined]
        dialect=DIALECT, compile_kwargs={"render_postcompile": True}
    )
    given = compiled.construct_params(dict(parameters or {}))
    processors = compiled._bind_processors
    values = []
    for name in compiled.positiontup or ():
        process = processors.get(name)
        value = given[name] if process is None else process(given[name])
        values.append(_for_the_driver(value))
    return Statement(str(compiled), tuple(values))


def _for_the_driver(value: Any) -> Any:
    if not isinstance(value, Range):
        return value
    lower, upper = value.bounds
    return DriverRange(
        value.lower,
        value.upper,
        lower_inc=lower == "[",
        upper_inc=upper == "]",
        empty=value.empty,
    )
