"""Entities: pydantic models of a reflected table's rows, which read and write them."""

from collections.abc import Sequence
from typing import Any, Literal, Self

from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.exc import NoResultFound

from ..data.columns import column, values_of
from ..data.rows import columns_for
from ..data.transaction import TransactionManager
from ..fast.statements import Conditions, remembered, value_params
from . import conflict as on_conflict
from .writing import Values, WriteEntity

#: How often get_or_create looks again when other transactions delete the row in between.
TRIES = 100


class Entity(WriteEntity):
    """A row of a reflected table: `class Book(Entity, table="book")`, or `table="schema.book"`.

    A field takes the column of its name or alias; columns without a field are left alone.
    """

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
        target = on_conflict.target_over(tx, table, key)
        row = values_of(table, defaults or {}) | values_of(table, key)
        for _ in range(TRIES):
            if (found := await cls.get_one(tx, **key)) is not None:
                return found, False
            created = await cls._insert(tx, table, row, target, do="nothing")
            if created is not None:
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
        target = on_conflict.target_over(tx, table, key)
        changes = values_of(table, defaults or {}, only_set=True)
        if not changes:
            return await cls.get_or_create(tx, defaults, **key)
        # UPDATE first: INSERT ... ON CONFLICT checks NOT NULL before it looks for the conflict, so
        # a change of one column would fail although the row is there.
        if (updated := await cls._update(tx, table, changes, Conditions(key))) is not None:
            return updated, False
        row = values_of(table, defaults or {}) | values_of(table, key)
        made = await cls._insert(tx, table, row, target, do="update", update=tuple(changes))
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
        target = on_conflict.target_of(tx, table, conflict)
        row = values_of(table, values or {}) | values_of(table, more)
        for name in update or ():
            column(table, name)
        rest = tuple(name for name in row if name not in target.elements)
        changed = rest if update is None else tuple(update)
        made = await cls._insert(tx, table, row, target, do=do, update=changed)
        return made or (None, False)

    @classmethod
    async def _insert(
        cls,
        tx: TransactionManager,
        table: Table,
        row: dict[str, Any],
        target: on_conflict.Target,
        *,
        do: Literal["update", "nothing"],
        update: tuple[str, ...] = (),
    ) -> tuple[Self, bool] | None:
        """The row that was inserted or updated and whether it was inserted, or None."""
        names = tuple(row)

        def build() -> Any:
            flag = on_conflict.created_flag(tx)
            statement: Insert = (
                on_conflict.insert_or_nothing(table, names, target)
                if do == "nothing"
                else on_conflict.insert_or_update(table, names, target, update)
            )
            return statement.returning(*columns_for(cls, table), flag)

        statement = remembered(table, ("upsert", cls, names, target, do, update), build)
        made = await tx.fetch_one(statement, value_params(row))
        return None if made is None else (cls.model_validate(made), made[on_conflict.CREATED])
