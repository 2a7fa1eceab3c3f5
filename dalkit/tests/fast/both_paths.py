"""Runs a statement on the compiled path and on SQLAlchemy's, and tells whether they differ."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import Executable

from dalkit import DataAccessLayer, TransactionManager
from dalkit.fast.fastpath import Plans

#: Two values are the same when these are equal: their types, and what they consist of.
Shape = tuple[type, object]


def shape(value: Any) -> Shape:
    """The value with its Python type, and so with whatever it holds; NaN equals NaN."""
    if isinstance(value, Mapping):
        return type(value), [(key, shape(one)) for key, one in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [shape(one) for one in value]
    if hasattr(value, "lower") and hasattr(value, "upper") and not isinstance(value, str | bytes):
        return type(value), (shape(value.lower), shape(value.upper), str(value))
    if hasattr(value, "points"):
        return type(value), shape(tuple(value.points))
    return type(value), repr(value)


def plans(dal: DataAccessLayer) -> Plans:
    """The plans of this data access layer."""
    if dal._plans is None:
        dal._plans = Plans(dal.engine.dialect)
    return dal._plans


@contextmanager
def path(dal: DataAccessLayer, *, fast: bool) -> Iterator[None]:
    """Switch the compiled path on or off for a while."""
    before, dal.fast_path = dal.fast_path, fast
    try:
        yield
    finally:
        dal.fast_path = before


@asynccontextmanager
async def undone(dal: DataAccessLayer, *, fast: bool) -> AsyncIterator[TransactionManager]:
    """A transaction that is rolled back, on one of the paths."""
    with path(dal, fast=fast):
        async with dal.transaction(with_commit=False) as tx:
            yield tx


async def outcome(
    dal: DataAccessLayer, statement: Executable, parameters: Any = None, *, fast: bool
) -> object:
    """What the statement gives on one path: the shape of its rows, or the error in full."""
    async with undone(dal, fast=fast) as tx:
        try:
            return shape(await tx.fetch_all(statement, parameters))
        except Exception as error:  # noqa: BLE001 - whichever it is, the other path has it too
            return described(error)


async def same_on_both(dal: DataAccessLayer, statement: Executable, parameters: Any = None) -> Any:
    """What the statement gives on both paths, as `outcome`; it runs twice on each."""
    slow = await outcome(dal, statement, parameters, fast=False)
    for turn in ("first", "second"):  # a plan is made and learned, and then used again
        assert await outcome(dal, statement, parameters, fast=True) == slow, turn
    assert await outcome(dal, statement, parameters, fast=False) == slow
    return slow


def described(error: BaseException) -> tuple[object, ...]:
    """Everything about an error that code can tell apart, other than the values it hides."""
    orig = getattr(error, "orig", None)
    text = str(error).replace("[SQL parameters hidden due to hide_parameters=True]\n", "")
    return (
        type(error),
        re.sub("0x[0-9a-f]+", "0x", text),
        type(orig),
        str(orig),
        getattr(orig, "sqlstate", None),
        type(getattr(orig, "__cause__", None)),
        type(error.__cause__),
        getattr(error, "connection_invalidated", None),
        getattr(error, "statement", None),
        getattr(error, "hide_parameters", None),
    )
