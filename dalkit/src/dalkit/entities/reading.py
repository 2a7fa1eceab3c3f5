"""Reading rows of a table or view as pydantic models."""

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Select, Table, select
from sqlalchemy.exc import MultipleResultsFound
from starlette.datastructures import URL

from ..data.rows import columns_for, fetch_entities, fetch_entity
from ..data.transaction import TransactionManager
from ..fast.statements import Conditions, Where, has_key, key_params, remembered
from ..paging.page import Page, page
from ..paging.query import FilterModel


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
        params = key_params(table, pk)
        statement = remembered(
            table,
            ("select by key", cls),
            lambda: select(*columns_for(cls, table)).where(has_key(table)),
        )
        return await fetch_entity(tx, cls, statement, params)

    @classmethod
    async def get_one(cls, tx: TransactionManager, /, **equal: Any) -> Self | None:
        """The row whose columns have these values (None: IS NULL), or None.

        Raises UnknownColumn, and sqlalchemy.exc.MultipleResultsFound when there are several.
        """
        table = cls.table_in(tx)
        where = Conditions(equal)
        found = await fetch_entities(tx, cls, cls._select(table, where), where.params)
        if len(found) > 1:
            raise MultipleResultsFound(
                f"More than one row of {table.fullname} has these values of {', '.join(equal)}."
            )
        return found[0] if found else None

    @classmethod
    async def page(
        cls, tx: TransactionManager, query: FilterModel, url: URL | str, where: Where = None
    ) -> Page[Self]:
        """One page of the rows that `query` asks for (and `where`), with links made from `url`."""
        return await page(tx, cls, query, url, cls.table_in(tx), where)

    @classmethod
    def _select(cls, table: Table, where: Conditions) -> Select[Any]:
        """At most two rows: enough to tell one from several."""
        return remembered(
            table,
            where.key("select", cls),
            lambda: select(*columns_for(cls, table)).where(*where.on(table)).limit(2),
        )
