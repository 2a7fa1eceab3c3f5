"""What goes wrong on the compiled path is what would have gone wrong through SQLAlchemy."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, StatementError

from dalkit import DataAccessLayer, TransactionManager

from tests.fast.both_paths import described, path

SECRET = "secret-4711"
OWNER = sa.Table(
    "owner",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("email", sa.Text),
    sa.Column("age", sa.Integer),
)
PET = sa.table("pet", sa.column("owner_id", sa.Integer), sa.column("later_id", sa.Integer))
ADD = sa.insert(OWNER).returning(OWNER)


class Picky(sa.TypeDecorator[int]):
    """Refuses every value."""

    impl = sa.Integer
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> int:
        """Raise."""
        raise LookupError("not this one")


class Sour(sa.TypeDecorator[int]):
    """Refuses every result."""

    impl = sa.Integer
    cache_ok = True

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> int:
        """Raise."""
        raise LookupError("not this one")


TWICE = sa.select(sa.func.generate_series(1, 2, type_=sa.Integer) * 0)
FAILING: dict[str, tuple[Any, Any]] = {
    "unique 23505": (sa.insert(OWNER).from_select(["id"], TWICE).returning(OWNER.c.id), None),
    "foreign key 23503": (sa.insert(PET).values(owner_id=404).returning(PET.c.owner_id), None),
    "not null 23502": (ADD, {"id": 1, "email": SECRET, "age": None}),
    "check 23514": (ADD, {"id": 1, "email": SECRET, "age": -1}),
    "division 22012": (sa.select(sa.literal(1) / sa.literal(0, sa.Integer)), None),
    "division in a write 22012": (ADD.values(id=sa.literal(1) // sa.literal(0)), None),
    "overflow 22003": (sa.select(sa.cast(sa.literal(2**40, sa.BigInteger), sa.Integer)), None),
    "syntax 42601": (sa.select(sa.literal_column("SELEKT 1 1")), None),
    "no table 42P01": (sa.select(sa.column("id")).select_from(sa.table("nowhere")), None),
    "no function 42883": (sa.select(sa.func.no_such_function(1)), None),
    "not a number 22P02": (sa.select(sa.cast(sa.literal("four"), sa.Integer)), None),
    "cannot be encoded 22000": (ADD, {"id": 1, "email": 4711}),
    "out of range 22000": (sa.select(sa.literal(2**40, sa.Integer)), None),
    "NUL 22021": (ADD, {"id": 1, "email": "\0" + SECRET}),
    "a lone surrogate 22000": (ADD, {"id": 1, "email": "\ud800"}),
    "serialization 40001": (sa.select(sa.func.raise_state("40001")), None),
    "deadlock 40P01": (sa.select(sa.func.raise_state("40P01")), None),
    "read only 25006": (sa.select(sa.func.raise_state("25006")), None),
    "terminated 08003": (
        sa.select(sa.func.pg_terminate_backend(sa.func.pg_backend_pid()), sa.func.pg_sleep(1)),
        None,
    ),
    "a value that its type refuses": (sa.select(sa.literal(1, Picky())), None),
    "a result that its type refuses": (sa.select(sa.literal(1, Sour())), None),
}


async def failure(
    dal: DataAccessLayer, work: Callable[[TransactionManager], Awaitable[object]], *, fast: bool
) -> BaseException:
    """What a transaction on one of the paths ends with."""
    with path(dal, fast=fast):
        try:
            async with dal.transaction() as tx:
                await work(tx)
        except Exception as error:  # noqa: BLE001 - whichever it is, the other path has it too
            return error
    pytest.fail("nothing was raised")


async def same_failure(
    dal: DataAccessLayer, work: Callable[[TransactionManager], Awaitable[object]]
) -> BaseException:
    """What a transaction ends with, on both paths; their difference fails the test."""
    slow = await failure(dal, work, fast=False)
    for _ in ("the plan is made", "the plan is used again"):
        fast = await failure(dal, work, fast=True)
        assert described(fast) == described(slow)
    return fast


@pytest.mark.parametrize("name", FAILING)
async def test_an_error_is_that_of_sqlalchemy(paths: DataAccessLayer, name: str) -> None:
    statement, parameters = FAILING[name]
    is_compiled = paths.compiled(statement, parameters) is not None
    assert is_compiled is (name != "a value that its type refuses")
    error = await same_failure(paths, lambda tx: tx.fetch_all(statement, parameters))
    sqlstate = name.rsplit(maxsplit=1)[-1]
    if isinstance(error, DBAPIError):
        cause: Any = error.orig
        assert cause.sqlstate == sqlstate
        assert isinstance(cause.__cause__, asyncpg.PostgresError | asyncpg.InterfaceError)
        assert error.connection_invalidated is (sqlstate == "08003")
    else:
        assert isinstance(error, StatementError | LookupError)
        assert "refuses" in name


@pytest.mark.parametrize("name", FAILING)
async def test_no_text_of_an_error_has_parameters(paths: DataAccessLayer, name: str) -> None:
    error = await failure(paths, lambda tx: tx.fetch_all(*FAILING[name]), fast=True)
    logged = "".join(str(one) for one in (error, getattr(error, "orig", "")))
    assert SECRET not in logged


async def test_a_statement_that_takes_too_long_is_cancelled(paths: DataAccessLayer) -> None:
    async def slow(tx: TransactionManager) -> None:
        await tx.fetch_all(sa.select(sa.func.set_config("statement_timeout", "50", True)))
        await tx.fetch_all(sa.select(sa.func.pg_sleep(5)))

    error: Any = await same_failure(paths, slow)
    assert error.orig.sqlstate == "57014"


async def test_a_deferred_constraint_is_checked_at_commit(paths: DataAccessLayer) -> None:
    async def violate(tx: TransactionManager) -> None:
        await tx.fetch_all(sa.insert(PET).values(later_id=404).returning(PET.c.later_id))

    slow: Any = await failure(paths, violate, fast=False)
    fast: Any = await failure(paths, violate, fast=True)
    assert (type(fast), str(fast.orig)) == (type(slow), str(slow.orig))
    assert fast.orig.sqlstate == slow.orig.sqlstate == "23503"
    assert type(fast.orig.__cause__) is type(slow.orig.__cause__)


async def test_what_follows_an_error_fails_until_a_savepoint_ends(paths: DataAccessLayer) -> None:
    async def go_on(tx: TransactionManager) -> None:
        with pytest.raises(DBAPIError):
            async with tx.savepoint():
                await tx.fetch_all(*FAILING["division in a write 22012"])
        assert await tx.fetch_value(sa.select(sa.literal(1))) == 1
        with pytest.raises(DBAPIError):
            await tx.fetch_all(*FAILING["division in a write 22012"])
        await tx.fetch_all(sa.select(sa.literal(1)))

    error: Any = await same_failure(paths, go_on)
    assert error.orig.sqlstate == "25P02"


@pytest.mark.parametrize("state", ["40001", "40P01", "23505"])
async def test_a_collision_is_noticed(paths: DataAccessLayer, state: str) -> None:
    async with paths.transaction(with_commit=False) as tx:
        with pytest.raises(DBAPIError):
            await tx.fetch_all(sa.select(sa.func.raise_state(state)))
        assert tx.collided is (state != "23505")
