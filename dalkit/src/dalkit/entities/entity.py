"""Entities: pydantic models of a table's rows, which read and write them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self, overload

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Table
from sqlalchemy.exc import MultipleResultsFound, NoResultFound
from starlette.requests import HTTPConnection

from ..data.statements import (
    Conditions,
    Where,
    as_entities,
    column,
    delete_rows,
    fetch_entities,
    fetch_entity,
    insert_row,
    row_with,
    select_rows,
    update_rows,
    value_params,
    values_of,
)
from ..data.transaction import TransactionManager
from ..paging.pages import Page, page
from ..paging.query import FilterModel
from ..web.problems import Problem
from .conflict import CREATED, Target, target_of, target_over, upsert_row
from .insert_many import insert_many

Values = Mapping[str, Any] | BaseModel

#: How often get_or_create looks again when other transactions delete the row in between.
TRIES = 100


class ReadEntity(BaseModel):
    """A row as it was read; changing it is the business of the class methods of `Entity`.

    `class Loan(ReadEntity, table="open_loans")` reads a view. A field takes the column of its name
    or alias; columns without a field are not selected.
    """

    # NaN and infinity may be stored already: reading them is no error, and JSON gets null.
    model_config = ConfigDict(frozen=True, allow_inf_nan=True, ser_json_inf_nan="null")
    __table__: ClassVar[str] = ""

    def __init_subclass__(cls, table: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if table is not None:
            cls.__table__ = table

    @classmethod
    def table_in(cls, tx: TransactionManager) -> Table:
        """The reflected table; raises UnknownTable, and TypeError for an entity without one."""
        if not cls.__table__:
            raise TypeError(f'{cls.__name__} names no table: class ...(Entity, table="book").')
        return tx.get_table(cls.__table__)

    @classmethod
    async def get_by_pk(cls, tx: TransactionManager, /, *pk: Any) -> Self | None:
        """The row with this primary key, or None; `get_by_pk(tx, a, b)` for a composite key."""
        table = cls.table_in(tx)
        where = row_with(table, pk)
        return await fetch_entity(tx, cls, select_rows(table, cls, where.shape, None), where.params)

    @classmethod
    async def get_or_404(cls, tx: TransactionManager, /, *pk: Any) -> Self:
        """The row with this primary key.

        Raises Problem 404 when there is none, and Problem 410 when it has a `deleted_at`: an entity
        with a field of this name keeps the rows that were deleted.
        """
        found = await cls.get_by_pk(tx, *pk)
        # Not getattr: pydantic's is slow for what is not there.
        if found is not None and vars(found).get("deleted_at") is None:
            return found
        key = ", ".join(map(str, pk)) if len(pk) == 1 else f"({', '.join(map(str, pk))})"
        if found is None:
            raise Problem(404, f"There is no {cls.__name__.lower()} {key}.")
        raise Problem(410, f"{cls.__name__} {key} was deleted.")

    @classmethod
    async def get_one(cls, tx: TransactionManager, /, **equal: Any) -> Self | None:
        """The row whose columns have these values (None: IS NULL), or None.

        Raises UnknownColumn, and sqlalchemy.exc.MultipleResultsFound when there are several.
        """
        table = cls.table_in(tx)
        where = Conditions.of(equal)
        # Two rows are enough to tell one from several.
        found = await fetch_entities(tx, cls, select_rows(table, cls, where.shape, 2), where.params)
        if len(found) > 1:
            raise MultipleResultsFound(
                f"More than one row of {table.fullname} has these values of {', '.join(equal)}."
            )
        return found[0] if found else None

    @classmethod
    async def page(
        cls,
        tx: TransactionManager,
        query: FilterModel,
        request: HTTPConnection | str,
        where: Where = None,
    ) -> Page[Self]:
        """One page of the rows that `query` asks for (and `where`).

        Its links are made from the URL of `request`, and are relative. Raises
        RequestValidationError as `dalkit.page` does.
        """
        return await page(tx, cls, query, request, cls.table_in(tx), where)


class Entity(ReadEntity):
    """A row of a reflected table: `class Book(Entity, table="book")`, or `table="schema.book"`.

    A field takes the column of its name or alias; columns without a field are left alone. Values to
    write are a mapping or a pydantic model, and keyword arguments beside it. Generated and identity
    columns are never written. Errors are SQLAlchemy's.
    """

    @classmethod
    async def insert(
        cls, tx: TransactionManager, values: Values | None = None, /, **more: Any
    ) -> Self:
        """Insert one row and return it with its defaults; all fields of a model are written."""
        table = cls.table_in(tx)
        row = values_of(table, values or {})
        if more:
            row |= values_of(table, more)
        made = await tx.fetch_one(insert_row(table, cls, tuple(row)), value_params(row))
        return cls.model_validate(made)

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
        inserted = await insert_many(tx, cls.table_in(tx), rows, cls if returning else None)
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
        row = row_with(table, pk, where)
        return await tx.fetch_one(delete_rows(table, row.shape), row.params) is not None

    @classmethod
    async def get_or_create(
        cls, tx: TransactionManager, /, defaults: Values | None = None, **key: Any
    ) -> tuple[Self, bool]:
        """The row with this key, and whether this call created it, then with the `defaults` too.

        `key` names the columns of a unique constraint. Of concurrent calls exactly one creates, and
        the transaction stays usable. At REPEATABLE READ and above the others may fail with SQLSTATE
        40001: run the transaction again.
        """
        table = cls.table_in(tx)
        target = target_over(tx, table, key)
        row = values_of(table, defaults or {}) | values_of(table, key)
        for _ in range(TRIES):
            if (found := await cls.get_one(tx, **key)) is not None:
                return found, False
            if (created := await cls._upsert(tx, table, row, target, None)) is not None:
                return created
        raise RuntimeError(f"A row of {table.fullname} comes and goes: missed it {TRIES} times.")

    @classmethod
    async def update_or_create(
        cls, tx: TransactionManager, /, defaults: Values | None = None, **key: Any
    ) -> tuple[Self, bool]:
        """Write the `defaults` to the row with this key, or create it; and whether it was created.

        `key` and what concurrent calls do: as in `get_or_create`.
        """
        table = cls.table_in(tx)
        target = target_over(tx, table, key)
        changes = values_of(table, defaults or {}, only_set=True)
        if not changes:
            return await cls.get_or_create(tx, defaults, **key)
        # UPDATE first: INSERT ... ON CONFLICT checks NOT NULL before it looks for the conflict, so
        # a change of one column would fail although the row is there.
        if (updated := await cls._update(tx, table, changes, Conditions.of(key))) is not None:
            return updated, False
        row = values_of(table, defaults or {}) | values_of(table, key)
        made = await cls._upsert(tx, table, row, target, tuple(changes))
        if made is None:  # a trigger of the table dropped the row
            raise NoResultFound(f"PostgreSQL returned no row of {table.fullname}.")
        return made

    @classmethod
    async def upsert(
        cls,
        tx: TransactionManager,
        values: Values | None = None,
        /,
        *,
        conflict: str,
        do: Literal["update", "nothing"] = "update",
        update: Sequence[str] | None = None,
        **more: Any,
    ) -> tuple[Self | None, bool]:
        """Insert a row, or update the one that has the same values in the constraint `conflict`.

        Returns the row and whether it was inserted. `update` names the columns to update, by
        default all that were given; `do="nothing"` leaves such a row alone: (None, False).
        Raises LookupError for an unknown constraint.
        """
        table = cls.table_in(tx)
        target = target_of(tx, table, conflict)
        row = values_of(table, values or {}) | values_of(table, more)
        for name in update or ():
            column(table, name)
        rest = [name for name in row if name not in target.elements] if update is None else update
        changed = None if do == "nothing" else tuple(rest)
        return await cls._upsert(tx, table, row, target, changed) or (None, False)

    @classmethod
    async def _update(
        cls, tx: TransactionManager, table: Table, row: dict[str, Any], where: Conditions
    ) -> Self | None:
        """Update the rows that match, or only look for one when there is nothing to write."""
        if not row:
            return await fetch_entity(
                tx, cls, select_rows(table, cls, where.shape, 2), where.params
            )
        statement = update_rows(table, cls, tuple(row), where.shape)
        return await fetch_entity(tx, cls, statement, value_params(row) | where.params)

    @classmethod
    async def _upsert(
        cls,
        tx: TransactionManager,
        table: Table,
        row: dict[str, Any],
        target: Target,
        changed: tuple[str, ...] | None,
    ) -> tuple[Self, bool] | None:
        """The row that was inserted or updated and whether it was inserted, or None."""
        statement = upsert_row(table, cls, tuple(row), target, changed, tx.engine.dialect)
        made = await tx.fetch_one(statement, value_params(row))
        return None if made is None else (cls.model_validate(made), made[CREATED])
