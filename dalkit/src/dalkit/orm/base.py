"""What every model of a service can do."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import DateTime, MetaData, event, func, select
from sqlalchemy.ext.asyncio import AsyncAttrs, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Mapper, mapped_column

from ..schema.revisions import NAMING_CONVENTION
from . import conflict


class Base(AsyncAttrs, DeclarativeBase):
    """The base of declared models; `Base.reflected` is that of models over reflected tables.

    Values are attributes of the model, relationships too; None means IS NULL. What the database
    computes when a row is written is read back with it (`eager_defaults`).
    """

    metadata = MetaData(naming_convention=NAMING_CONVENTION)

    if TYPE_CHECKING:

        class reflected(Base):  # noqa: F821, N801 - an attribute of Base, not one of its kind
            """The base of models over the tables of a DataAccessLayer; see orm/reflected.py."""

    @classmethod
    async def get_by_pk(cls, session: AsyncSession, pk: Any, /) -> Self | None:
        """The object with this primary key, or None; a composite key is a tuple or a dict."""
        return await session.get(cls, pk)

    @classmethod
    async def get_one(cls, session: AsyncSession, /, **equal: Any) -> Self:
        """The object with these values.

        Raises sqlalchemy.exc.NoResultFound and MultipleResultsFound.
        """
        found = await session.scalars(select(cls).filter_by(**equal).limit(2))
        return found.unique().one()

    @classmethod
    async def get_or_create(
        cls, session: AsyncSession, /, defaults: Mapping[str, Any] | None = None, **equal: Any
    ) -> tuple[Self, bool]:
        """The object with these values, and whether this call created it, then with `defaults`.

        Of concurrent calls exactly one creates, and the session stays usable, when `equal` names
        the columns of a primary key or of a unique constraint or index. Otherwise it is a savepoint
        that keeps the session usable; raises IntegrityError when another row is in the way. Values
        of `defaults` may be functions without arguments. At REPEATABLE READ and above the others
        may fail with SQLSTATE 40001: run the transaction again.
        """
        return await conflict.get_or_create(session, cls, equal, defaults or {})

    @classmethod
    async def update_or_create(
        cls,
        session: AsyncSession,
        /,
        defaults: Mapping[str, Any] | None = None,
        create_defaults: Mapping[str, Any] | None = None,
        **equal: Any,
    ) -> tuple[Self, bool]:
        """Write `defaults` to the object with these values, or create it; and whether it was new.

        A new one gets `create_defaults` instead, where they are given. The row is locked until the
        transaction ends. What concurrent calls do: as in `get_or_create`.
        """
        new = defaults if create_defaults is None else create_defaults
        return await conflict.update_or_create(session, cls, equal, defaults or {}, new or {})


@event.listens_for(Base, "after_mapper_constructed", propagate=True)
def _read_back(mapper: Mapper[Any], _: type) -> None:
    """Have what an UPDATE computes read back with it: nobody can wait for it afterwards.

    Not by `__mapper_args__`, which a model of its own arguments would replace.
    """
    if mapper.eager_defaults == "auto":
        mapper.eager_defaults = True


class Timestamps:
    """`created_at` and `updated_at`, for a declared model: `class Book(Timestamps, Base)`.

    Both have a time zone and are the time of the transaction by the database's clock.
    """

    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), sort_order=1
    )
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now(), sort_order=1
    )


if not TYPE_CHECKING:
    from .reflected import reflected_base

    Base.reflected = reflected_base(Base)
