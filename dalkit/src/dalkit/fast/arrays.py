"""Arrays as parameters, of which asyncpg need not look whether they hold arrays."""

from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
from sqlalchemy import Dialect
from sqlalchemy.dialects.postgresql.asyncpg import AsyncpgARRAY

#: The versions of asyncpg that walk through an array as `_Values` says.
TRIED = ("0.32.",)


class _Values(list[Any]):
    """Values of one dimension.

    asyncpg walks through an array twice: first it asks of each value whether it is an array itself,
    which costs more than the second walk, in which it writes the values. Here the first walk ends
    at once. Were an asyncpg to walk otherwise, it would write fewer values than it announces, which
    PostgreSQL refuses (SQLSTATE 08P01): nothing is stored wrongly.
    """

    _walks = 0

    def __iter__(self) -> Iterator[Any]:
        self._walks += 1
        return iter(()) if self._walks % 2 else super().__iter__()


class FlatArray(AsyncpgARRAY):
    """The type of a parameter that is a list of values, none of which is an array."""

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        """What makes a parameter of a list."""
        process = self.item_type.dialect_impl(dialect).bind_processor(dialect)
        kind = _Values if asyncpg.__version__.startswith(TRIED) else list
        return lambda values: kind(values if process is None else map(process, values))
