"""The statements of a list endpoint: its rows and their number."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from pydantic import BaseModel
from sqlalchemy import BigInteger, ColumnElement, FromClause, Select, Table, bindparam, func, select

from ..data.rows import column_names, columns_for
from ..data.transaction import TransactionManager
from ..fast.fastpath import Row
from ..fast.statements import Conditions, Where, remembered
from .ordering import Key
from .query import FilterModel, QueryModel


class Listing:
    """What a query model asks of a table or of a statement's rows.

    Statements on a table are built once per combination of filters and ordering.
    """

    def __init__(
        self,
        tx: TransactionManager,
        model: type[BaseModel],
        query: FilterModel,
        source: Table | Select[Any],
        where: Where,
    ) -> None:
        self.tx = tx
        self.query = query
        self.order_by: str = getattr(query, "order_by", "")
        #: Tells cursors of this ordering from others.
        self.ordering = f"{type(query).__name__} {self.order_by}"
        self._model = model
        self._source = source
        self._where = Conditions(where)
        self._given = query.given()
        self._shape = tuple((f.field, f.op == "isnull" and v) for f, v in self._given.items())
        self._parameters = query.parameters(self._given) | self._where.params
        self._from: FromClause | None = None

    @property
    def source(self) -> FromClause:
        """The table, or the statement as a subquery."""
        if self._from is None:
            self._from = (
                self._source if isinstance(self._source, Table) else self._source.subquery("listed")
            )
        return self._from

    def keys(self) -> list[Key]:
        """The keys of the ordering."""
        keys: list[Key] = self._remembered(
            ("keys", self.order_by), lambda: self.query.ordering(self.source, self.order_by)
        )
        return keys

    async def rows(
        self,
        shape: tuple[Hashable, ...],
        more: Callable[[], ColumnElement[bool]] | None,
        keys: Sequence[Key],
        parameters: dict[str, Any] | None = None,
    ) -> list[Row]:
        """Rows in the order of `keys`, one more than the page takes if there are as many.

        `more` makes a further condition, identified by `shape`; `parameters` are its values.
        """
        statement = self._remembered(
            (*shape, self._model, self.order_by, self._shape),
            lambda: self._rows(more() if more else None, keys),
        )
        limits = {"limit": self.query.limit + 1}
        if isinstance(self.query, QueryModel):
            limits["offset"] = self.query.offset
        return await self.tx.fetch_all(statement, self._parameters | limits | (parameters or {}))

    async def count(self) -> int:
        """The number of all rows. A window count would cost three times the page."""
        statement = self._remembered(("count", self._shape), self._count)
        return int(await self.tx.fetch_value(statement, self._parameters))

    def _rows(self, more: ColumnElement[bool] | None, keys: Sequence[Key]) -> Select[Any]:
        columns = columns_for(self._model, self.source)
        selected = set(column_names(self._model))
        columns += [key.column for key in keys if key.name not in selected]
        statement = select(*columns).where(*self._conditions())
        if more is not None:
            statement = statement.where(more)
        statement = statement.order_by(*(key.clause() for key in keys))
        statement = statement.limit(bindparam("limit", type_=BigInteger))
        if isinstance(self.query, QueryModel):
            statement = statement.offset(bindparam("offset", type_=BigInteger))
        return statement

    def _count(self) -> Select[Any]:
        return select(func.count()).select_from(self.source).where(*self._conditions())

    def _conditions(self) -> list[ColumnElement[bool]]:
        return self.query.conditions(self.source, self._given) + self._where.on(self.source)

    def _remembered(self, parts: tuple[Hashable, ...], build: Callable[[], Any]) -> Any:
        key = self._where.key(type(self.query), *parts)
        return remembered(self._source, key, build) if isinstance(self._source, Table) else build()
