"""Creates an object unless it is there, whatever other transactions do at the same time."""

from collections.abc import Mapping
from typing import Any, TypeVar

from sqlalchemy import Column, Index, Select, Table, UniqueConstraint, inspect, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import ColumnProperty, DeclarativeBase, Mapper

from ..errors import sqlstate_of

Model = TypeVar("Model", bound=DeclarativeBase)
Values = Mapping[str, Any]
Row = dict[Column[Any], Any]

#: How often to look again when other transactions delete the row in between.
TRIES = 100
UNIQUE_VIOLATION = "23505"


async def get_or_create(
    session: AsyncSession, model: type[Model], equal: Values, defaults: Values
) -> tuple[Model, bool]:
    """The object and whether it was created; see Base.get_or_create."""
    statement = select(model).filter_by(**equal).limit(2)
    for _ in range(TRIES):
        if (found := await _found(session, statement)) is not None:
            return found, False
        if (made := await _created(session, model, equal, defaults)) is not None:
            return made, True
    raise RuntimeError(f"A row of {model.__name__} comes and goes: missed it {TRIES} times.")


async def update_or_create(
    session: AsyncSession, model: type[Model], equal: Values, changes: Values, new: Values
) -> tuple[Model, bool]:
    """The object and whether it was created; see Base.update_or_create."""
    statement = select(model).filter_by(**equal).limit(2).with_for_update(of=model)
    # The lock may have waited for a change of what the session knows already.
    current = statement.execution_options(populate_existing=True)
    for _ in range(TRIES):
        if (found := await _found(session, current)) is not None:
            for name, value in _called(changes).items():
                setattr(found, name, value)
            await session.flush()
            return found, False
        if (made := await _created(session, model, equal, new)) is not None:
            return made, True
    raise RuntimeError(f"A row of {model.__name__} comes and goes: missed it {TRIES} times.")


async def _found(session: AsyncSession, statement: Select[Any]) -> Any:
    return (await session.scalars(statement)).unique().one_or_none()


def _called(values: Values) -> dict[str, Any]:
    return {name: value() if callable(value) else value for name, value in values.items()}


async def _created(
    session: AsyncSession, model: type[Model], equal: Values, defaults: Values
) -> Model | None:
    """The new object, or None when another transaction was faster."""
    values, mapper = {**equal, **_called(defaults)}, inspect(model)
    target = _target(mapper, equal)
    is_plain = all(_column(mapper, name) is not None for name in values)
    row = _row(model(**values)) if target and is_plain else None
    if row is None:
        return await _added(session, model, values, equal)
    new = insert(model).values(row).on_conflict_do_nothing(index_elements=target)
    made = await session.scalars(new.returning(model))
    return made.one_or_none()


async def _added(
    session: AsyncSession, model: type[Model], values: Values, equal: Values
) -> Model | None:
    """The object, added in a savepoint; raises IntegrityError when it is another row's."""
    try:
        async with session.begin_nested():
            instance = model(**values)  # here, as it may join collections of other objects
            session.add(instance)
            await session.flush()
    except IntegrityError as error:
        is_there = select(model).filter_by(**equal).limit(1)
        if sqlstate_of(error) != UNIQUE_VIOLATION or await _found(session, is_there) is None:
            raise
        return None
    return instance


def _target(mapper: Mapper[Any], equal: Values) -> list[Column[Any]] | None:
    """The columns of the unique key that these attributes are; None when they are no such."""
    table = mapper.local_table
    columns = [_column(mapper, name) for name in equal]
    if not isinstance(table, Table) or not all(column is not None for column in columns):
        return None
    named = {column.key for column in columns if column is not None}
    keys: list[Any] = [table.primary_key, *table.constraints, *table.indexes]
    for key in keys:
        if _is_conflict_target(key) and {column.key for column in key.columns} == named:
            return list(key.columns)
    return None


def _is_conflict_target(key: Any) -> bool:
    """Whether PostgreSQL takes the columns of this constraint or index as a conflict target."""
    if isinstance(key, Index):
        is_whole = key.dialect_options["postgresql"]["where"] is None
        return bool(key.unique) and is_whole and len(key.columns) == len(key.expressions)
    is_unique = isinstance(key, UniqueConstraint) or bool(
        key.columns and key is key.table.primary_key
    )
    return is_unique and not key.deferrable


def _row(instance: DeclarativeBase) -> Row | None:
    """What a plain INSERT of the object has to write; None when it takes more than that."""
    state = inspect(instance)
    mapper: Mapper[Any] = state.mapper
    is_watched = mapper.dispatch.before_insert or mapper.dispatch.after_insert
    if len(mapper.tables) != 1 or mapper.version_id_col is not None or is_watched:
        return None
    row: Row = {}
    for name, value in state.dict.items():
        if name not in mapper.attrs:
            continue
        if (column := _column(mapper, name)) is None:
            return None
        if value is not None or column.type.should_evaluate_none:
            row[column] = value
    return row


def _column(mapper: Mapper[Any], name: str) -> Column[Any] | None:
    """The column of a plain attribute; None for a relationship and the like."""
    attribute = mapper.attrs.get(name)
    columns = attribute.columns if isinstance(attribute, ColumnProperty) else []
    return columns[0] if len(columns) == 1 and isinstance(columns[0], Column) else None
