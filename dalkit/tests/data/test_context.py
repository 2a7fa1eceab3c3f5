"""The context of a transaction: custom parameters that are set with BEGIN and end with it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dalkit import DataAccessLayer, TransactionManager
from dalkit.data.engine import create_engine
from dalkit.data.faults import fault_of

USER = sa.select(sa.func.current_setting("app.user", True))
SETTINGS = "SELECT name || '=' || coalesce(setting, '') FROM pg_settings ORDER BY name"
#: What would end a literal, a statement or a comment if it were not quoted.
HOSTILE = [
    "'",
    "''",
    "\\",
    "\\'",
    "\\\\'",
    "'; DROP TABLE thing; --",
    "', true), set_config('role', 'postgres', false), set_config('app.other', '",
    "\\', true), set_config('lock_timeout', '1', false); --",
    "x', true); SET statement_timeout = 1; SELECT set_config('app.user', 'x",
    "E'\\x27'",
    "\\047\\x27\\u0027\\U00000027",
    "*/ SELECT 1; /* context */",
    "$$ $1 :name %s %(name)s {0}",
    "line\r\nline\ttab\b\f\x01\x7f",
    "\u2019\uff07\u02bc\ufeff\u202e\U0001f600 a\u0308",
    "",
    " ",
    "\xbf\x27 \x815c",
]


@pytest.fixture
async def dal(committed_database: str) -> AsyncIterator[DataAccessLayer]:
    """One connection, so that each transaction finds what the one before has left."""
    async with DataAccessLayer.connect(committed_database, pool_size=1) as it:
        yield it


async def user_of(dal: DataAccessLayer, **options: Any) -> Any:
    """What a transaction sees of app.user."""
    async with dal.transaction(**options) as tx:
        return await tx.fetch_value(USER)


@pytest.mark.parametrize("fast", [True, False])
async def test_the_context_is_seen_on_every_way_to_the_database_and_gone_after(
    dal: DataAccessLayer, fast: bool
) -> None:
    dal.fast_path = fast
    async with dal.transaction(context={"app.user": "ada"}) as tx:
        assert await tx.fetch_value(USER) == "ada"
        assert (await tx.execute(USER)).scalar_one() == "ada"
        assert await (await tx.connection()).scalar(USER) == "ada"
        driver = await tx.get_dbapi_connection()
        assert await driver.fetchval("SELECT current_setting('app.user')") == "ada"
        assert [list(row.values()) async for row in tx.stream(USER)] == [["ada"]]
    assert await user_of(dal) in (None, "")


@pytest.mark.parametrize(
    "options", [{"readonly": True}, {"isolation": "SERIALIZABLE"}, {"with_commit": False}]
)
async def test_the_context_goes_with_the_other_options(
    dal: DataAccessLayer, options: dict[str, Any]
) -> None:
    assert await user_of(dal, context={"app.user": "ada"}, **options) == "ada"
    assert await user_of(dal) in (None, "")


async def test_the_context_costs_no_round_trip_of_its_own(dal: DataAccessLayer) -> None:
    sent: list[str] = []

    def note(query: asyncpg.connection.LoggedQuery) -> None:
        sent.append(query.query)

    async with dal.engine.connect() as conn:
        driver = (await conn.get_raw_connection()).driver_connection
        assert driver is not None
        driver.add_query_logger(note)
    dal.fast_path = True
    async with dal.transaction(context={"app.user": "ada", "app.tenant": "x"}) as tx:
        await tx.fetch_all(sa.select(sa.literal(1)))  # a plain read, which needs no BEGIN otherwise
    await asyncio.sleep(0)  # asyncpg tells its loggers a little later
    driver.remove_query_logger(note)
    assert [statement.split()[0] for statement in sent] == ["BEGIN;", "SELECT", "COMMIT"]


@pytest.mark.no_pgbouncer("every transaction begins with BEGIN")
async def test_nothing_to_set_needs_no_begin(dal: DataAccessLayer) -> None:
    dal.fast_path = True
    async with dal.transaction(context={"app.user": None}) as tx:
        await tx.fetch_all(sa.select(sa.literal(1)))
        assert not tx._begun


async def test_every_transaction_of_a_block_has_the_context(dal: DataAccessLayer) -> None:
    async with dal.transaction(context={"app.user": "ada"}) as tx:
        await tx.fetch_value(USER)
        await tx.commit()
        assert await tx.fetch_value(USER) == "ada"
        await tx.rollback()
        assert await tx.fetch_value(USER) == "ada"


async def test_a_savepoint_that_is_undone_leaves_the_context(dal: DataAccessLayer) -> None:
    async with dal.transaction(context={"app.user": "ada"}) as tx:
        with pytest.raises(ArithmeticError):
            async with tx.savepoint():
                assert await tx.fetch_value(USER) == "ada"
                raise ArithmeticError
        assert await tx.fetch_value(USER) == "ada"


async def test_the_connection_of_a_failed_transaction_has_no_context(dal: DataAccessLayer) -> None:
    pids = []
    with pytest.raises(sa.exc.DBAPIError):
        async with dal.transaction(context={"app.user": "ada"}) as tx:
            pids.append(await tx.fetch_value(sa.select(sa.func.pg_backend_pid())))
            await tx.execute(sa.text("SELECT 1 / 0"))
    async with dal.transaction() as tx:
        pids.append(await tx.fetch_value(sa.select(sa.func.pg_backend_pid())))
        assert await tx.fetch_value(USER) in (None, "")
    assert pids[0] == pids[1]


@pytest.mark.parametrize("conforming", ["on", "off"])
@pytest.mark.parametrize("value", [*HOSTILE, "'\\" * 500_000], ids=lambda value: repr(value)[:20])
async def test_no_value_changes_another_setting(
    dal: DataAccessLayer, conforming: str, value: str
) -> None:
    """Whatever standard_conforming_strings says; the last value has a megabyte."""
    async with dal.transaction() as tx:
        await tx.execute(sa.text(f"SET standard_conforming_strings = {conforming}"))
        driver = await tx.get_dbapi_connection()
        before = await driver.fetch(SETTINGS)
    async with dal.transaction(context={"app.user": value, "app.last": "kept"}) as tx:
        driver = await tx.get_dbapi_connection()
        assert await driver.fetchval("SELECT current_setting('app.user')") == value
        assert await driver.fetchval("SELECT current_setting('app.last')") == "kept"
        assert await driver.fetch(SETTINGS) == before
    async with dal.transaction() as tx:
        driver = await tx.get_dbapi_connection()
        assert await driver.fetchval("SELECT current_setting('app.user', true)") in (None, "")
        assert await driver.fetch(SETTINGS) == before
        await tx.execute(sa.text("RESET standard_conforming_strings"))


@given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_any_text_arrives_as_it_is(lasting_paths: DataAccessLayer, value: str) -> None:
    assert await user_of(lasting_paths, context={"app.user": value}) == value


@pytest.mark.parametrize("value", ["a\0b", "\ud800", "a\udfff"])
async def test_text_that_postgres_cannot_hold_is_a_fault_of_the_caller(
    dal: DataAccessLayer, value: str
) -> None:
    with pytest.raises(asyncpg.CharacterNotInRepertoireError) as caught:
        await user_of(dal, context={"app.user": value})
    fault = fault_of(caught.value)
    assert fault is not None
    assert fault.status == 422
    assert dal.engine.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name",
    [
        *("role", "search_path", "statement_timeout", "app", "", ".", "app.", ".user", "app..user"),
        *("app.user\n", "app.user'", "app.user', 'x', true); --", "app user.x", "1.x", "äpp.user"),
    ],
)
async def test_only_names_of_ones_own_can_be_set(dal: DataAccessLayer, name: str) -> None:
    with pytest.raises(ValueError, match="with a dot"):
        await user_of(dal, context={name: "x"})


async def test_a_value_that_is_no_text_is_refused_with_its_name(dal: DataAccessLayer) -> None:
    wrong: Any = {"app.user": 7}
    with pytest.raises(TypeError, match=r"'app\.user' is of type int"):
        await user_of(dal, context=wrong)


async def test_the_limits_of_pgbouncers_mode_are_set_beside(committed_database: str) -> None:
    engine = create_engine(committed_database, pgbouncer=True, lock_timeout=7, pool_size=1)
    dal = DataAccessLayer()
    await dal.reflect(engine)
    async with dal.transaction(context={"app.user": "ada"}) as tx:
        assert await tx.fetch_value(sa.select(sa.func.current_setting("lock_timeout"))) == "7s"
        assert await tx.fetch_value(USER) == "ada"
    await engine.dispose()


async def test_on_a_connection_of_the_caller_the_context_is_the_callers(
    dal: DataAccessLayer,
) -> None:
    async with dal.engine.connect() as conn:
        assert await TransactionManager(conn, dal).fetch_value(USER) in (None, "")
