"""Writing rows of a table: insert, update, delete."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self, overload

from pydantic import BaseModel
from sqlalchemy import Table, delete, insert, literal, update

from ..data.columns import values_of
from ..data.rows import as_entities, columns_for, fetch_entity
from ..data.transaction import TransactionManager
from ..fast.statements import Conditions, Where, remembered, row_with, value_binds, value_params
from .insert_many import insert_many
from .reading import ReadEntity

Values = Mapping[str, Any] | BaseModel


class WriteEntity(ReadEntity):
    """A row of a table that can be written.

    Values are a mapping or a pydantic model, and keyword arguments beside it. Generated and
    identity columns are never written. Errors are SQLAlchemy's.
    """

    @classmethod
    async def insert(
        cls, tx: TransactionManager, values: Values | None = None, /, **more: Any
    ) -> Self:
        """Insert one row and return it with its defaults; all fields of a model are written."""
        table = cls.table_in(tx)
        row = values_of(table, values or {}) | values_of(table, more)
        names = tuple(row)
        statement = remembered(
            table,
            ("insert", cls, names),
            lambda: (
                insert(table).values(value_binds(table, names)).returning(*columns_for(cls, table))
            ),
        )
        return cls.model_validate(await tx.fetch_one(statement, value_params(row)))

    @overload
    @classmethod
    async def insert_many(
        cls, tx: TransactionManager, rows: Iterable[Values], *, returning: Literal[True] = True
    ) -> list[Self]: ...
    @overload
    @classmethod
    async def insert_many(
        cls, tx: TransactionManager, rows: Iterable[Values], *, returning: Literal[False]
    ) -> int: ...
    @classmethod
    async def insert_many(
        cls, tx: TransactionManager, rows: Iterable[Values], *, returning: bool = True
    ) -> list[Self] | int:
        """Insert all rows in one round trip; return them in their order, or only their number.

        All rows must name the same columns; ValueError tells the first that does not.
        """
        table = cls.table_in(tx)
        columns = columns_for(cls, table) if returning else []
        inserted = await insert_many(tx, table, rows, columns)
        return as_entities(cls, inserted) if isinstance(inserted, list) else inserted

    @classmethod
    async def update(
        cls,
        tx: TransactionManager,
        pk: Any,
        values: Values | None = None,
        /,
        *,
        where: Where = None,
        **more: Any,
    ) -> Self | None:
        """Update the row with this primary key if `where` holds; None when no row matched.

        Of a model only the fields that were set are written. A composite `pk` is a tuple.
        """
        table = cls.table_in(tx)
        row = values_of(table, values or {}, only_set=True) | values_of(table, more)
        return await cls._update(tx, table, row, row_with(table, pk, where))

    @classmethod
    async def delete(cls, tx: TransactionManager, pk: Any, /, *, where: Where = None) -> bool:
        """Delete the row with this primary key if `where` holds; tell whether there was one."""
        table = cls.table_in(tx)
        conditions = row_with(table, pk, where)
        statement = remembered(
            table,
            conditions.key("delete"),
            lambda: delete(table).where(*conditions.on(table)).returning(literal(True)),
        )
        return await tx.fetch_one(statement, conditions.params) is not None

    @classmethod
    async def _update(
        cls, tx: TransactionManager, table: Table, row: dict[str, Any], where: Conditions
    ) -> Self | None:
        """Update the rows that match, or only look for one when there is nothing to write."""
        names = tuple(row)
        if not names:
            return await fetch_entity(tx, cls, cls._select(table, where), where.params)
        statement = remembered(
            table,
            where.key("update", cls, names),
            lambda: (
                update(table)
                .where(*where.on(table))
                .values(value_binds(table, names))
                .returning(*columns_for(cls, table))
            ),
        )
        return await fetch_entity(tx, cls, statement, value_params(row) | where.params)
