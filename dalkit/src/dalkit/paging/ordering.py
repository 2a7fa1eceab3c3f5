"""Orderings: the keys of ORDER BY, and the rows that come after a given one."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from sqlalchemy import ColumnElement, FromClause, UnaryExpression, and_, bindparam, or_, tuple_

from ..data.columns import column, unlimited


class Key(NamedTuple):
    """One column to sort by. As in PostgreSQL, NULL counts as greater than every value."""

    column: ColumnElement[Any]
    name: str
    descending: bool

    @classmethod
    def of(cls, source: FromClause, text: str) -> Self:
        """The key written as `name` or `-name`; raises UnknownColumn."""
        name = text.removeprefix("-")
        return cls(column(source, name), name, text.startswith("-"))

    @property
    def nullable(self) -> bool:
        """Whether there may be NULLs; true for what is not a table's column."""
        return bool(getattr(self.column, "nullable", True))

    def reversed(self) -> "Key":
        """The key in the other direction."""
        return self._replace(descending=not self.descending)

    def clause(self) -> UnaryExpression[Any]:
        """The element of ORDER BY."""
        return self.column.desc() if self.descending else self.column.asc()


def after(keys: Sequence[Key], nulls: Sequence[bool]) -> ColumnElement[bool]:
    """Rows after the one whose keys are bound as k0, k1, ...; `nulls` tells which are NULL.

    Where it can it compares rows, which an index answers directly: (price, id) > (k0, k1).
    """
    if len({key.descending for key in keys}) == 1 and not any(key.nullable for key in keys):
        row = tuple_(*(key.column for key in keys))
        bound = tuple_(*(_bound(key, i) for i, key in enumerate(keys)))
        return row < bound if keys[0].descending else row > bound
    return or_(
        *(
            and_(*(_same(keys[j], j, nulls[j]) for j in range(i)), beyond)
            for i, key in enumerate(keys)
            if (beyond := _beyond(key, i, nulls[i])) is not None
        )
    )


def _bound(key: Key, i: int) -> ColumnElement[Any]:
    return bindparam(f"k{i}", type_=unlimited(key.column.type))


def _same(key: Key, i: int, null: bool) -> ColumnElement[bool]:
    return key.column.is_(None) if null else key.column == _bound(key, i)


def _beyond(key: Key, i: int, null: bool) -> ColumnElement[bool] | None:
    """Rows beyond this value in one key; None when there can be none."""
    if null:
        return key.column.is_not(None) if key.descending else None
    if key.descending:
        return key.column < _bound(key, i)
    greater = key.column > _bound(key, i)
    return or_(greater, key.column.is_(None)) if key.nullable else greater
