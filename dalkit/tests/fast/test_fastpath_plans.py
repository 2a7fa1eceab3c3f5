"""How plans are found, kept, shared and dropped, and what of SQLAlchemy they are made from."""

import gc
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from dalkit import DataAccessLayer
from dalkit.data.engine import create_engine
from dalkit.fast import fastpath

from tests.fast.both_paths import outcome, plans, same_on_both, undone


def literal(number: int) -> sa.Select[Any]:
    """A statement of one shape."""
    return sa.select(sa.literal(number).label("n"))


def shaped(number: int) -> sa.Select[Any]:
    """A statement whose shape is that of no other number."""
    return sa.select(sa.literal(1).label(f"n{number}"))


def kept(dal: DataAccessLayer, *numbers: int) -> list[bool]:
    """Which of the shapes have a plan."""
    before = len(plans(dal))
    known = []
    for number in numbers:
        key: Any = shaped(number)._generate_cache_key()
        known.append(any(key.key in one for one in plans(dal)._plans))
    assert len(plans(dal)) == before
    return known


async def test_plans_are_bounded_and_the_least_recently_used_goes_first(
    paths: DataAccessLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastpath, "MOST_PLANS", 3)
    for number in (1, 2, 3, 1, 4):
        assert paths.compiled(shaped(number), None)
    assert len(plans(paths)) == 3
    assert kept(paths, 1, 2, 3, 4) == [True, False, True, True]


async def test_there_is_room_for_the_statements_of_a_service() -> None:
    assert fastpath.MOST_PLANS == 500


async def test_statements_of_one_shape_share_a_plan_and_nothing_of_their_values(
    paths: DataAccessLayer,
) -> None:
    async with undone(paths, fast=True) as tx:
        first = paths.compiled(literal(1), None)
        for number in (2, 3, 2):
            assert await tx.fetch_value(literal(number)) == number
        assert first is not None
        assert first.values == [1]
        assert paths.compiled(literal(9), None) == (first.plan, [9])
    assert len(plans(paths)) == 1


@pytest.mark.parametrize(
    "clear", [lambda dal: None, lambda dal: plans(dal)._plans.clear()], ids=["kept", "cleared"]
)
async def test_a_value_is_that_of_the_call_whoever_made_the_plan(
    paths: DataAccessLayer, clear: Callable[[DataAccessLayer], None]
) -> None:
    both: Any = sa.select(sa.bindparam("a", 1).label("a"), sa.literal(10).label("b"))
    async with undone(paths, fast=True) as tx:
        for given, row in [
            (None, (1, 10)),
            ({"a": 2}, (2, 10)),
            ({"a": None}, (None, 10)),
            (None, (1, 10)),
        ]:
            call = paths.compiled(both, given)
            clear(paths)
            assert call is not None
            assert call.values == list(row)
            assert await tx.fetch_all(both, given) == [dict(zip("ab", row, strict=True))]
            clear(paths)


async def test_a_value_that_one_statement_has_and_the_next_requires_is_not_null(
    paths: DataAccessLayer,
) -> None:
    """SQLAlchemy gives both statements one cache key, and with it one plan."""
    assert paths.compiled(sa.select(sa.bindparam("y", 5)), None) is not None
    assert paths.compiled(sa.select(sa.bindparam("y", type_=sa.Integer)), None) is None
    assert "required" in str(
        await outcome(paths, sa.select(sa.bindparam("y", type_=sa.Integer)), fast=True)
    )
    assert paths.compiled(sa.select(sa.bindparam("y", type_=sa.Integer)), {"y": 1}) is not None


async def test_parameters_that_name_other_columns_make_another_plan(paths: DataAccessLayer) -> None:
    owner = paths.get_table("owner")
    for given in ({"id": 1}, {"id": 1, "email": "x"}, {"id": 2}):
        await same_on_both(paths, sa.insert(owner).returning(owner), given)
    assert len(plans(paths)) == 2


async def test_a_refresh_drops_the_plans(paths: DataAccessLayer) -> None:
    assert paths.compiled(literal(1), None)
    await paths.refresh()
    assert len(plans(paths)) == 0


async def test_another_engine_has_other_plans(paths: DataAccessLayer, paths_url: str) -> None:
    """How JSON is written, for example, is the engine's affair."""
    call = paths.compiled(literal(1), None)
    other = create_engine(paths_url)
    paths.use(other)
    again = paths.compiled(literal(1), None)
    assert call is not None
    assert again is not None
    assert again.plan is not call.plan
    await other.dispose()


async def test_a_statement_that_is_kept_is_looked_at_once(
    paths: DataAccessLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = literal(1)
    assert paths.compiled(statement, None)
    monkeypatch.setattr(fastpath.Plans, "_known", None)
    assert paths.compiled(statement, None)
    with pytest.raises(TypeError):
        paths.compiled(literal(1), None)


async def test_plans_keep_no_statement_alive(paths: DataAccessLayer) -> None:
    statement = literal(1)
    assert paths.compiled(statement, None)
    gone = weakref.ref(statement)
    del statement
    gc.collect()
    assert gone() is None


async def test_switched_off_nothing_is_compiled(paths: DataAccessLayer) -> None:
    paths.fast_path = False
    assert paths.compiled(literal(1), None) is None


async def test_columns_of_one_name_are_left_to_sqlalchemy_from_then_on(
    paths: DataAccessLayer,
) -> None:
    owner = paths.get_table("owner")
    other = owner.alias()
    added = sa.insert(owner).values(id=1).returning(owner).cte()
    for twice in (
        sa.select(added.c.id, added.c.id),
        sa.select(added.c.id, added.c.email.label("id")),
        sa.select(owner.c.id, other.c.id).join(other, sa.true()),
        sa.select(owner, other).join(other, owner.c.id == other.c.id),
    ):
        await same_on_both(paths, twice)
    assert paths.compiled(sa.select(added.c.id, added.c.email.label("id")), None) is None


async def test_a_cartesian_product_is_warned_of_once_for_each_plan(paths: DataAccessLayer) -> None:
    product = sa.select(paths.get_table("owner").c.id, paths.get_table("pet").c.id.label("pet"))
    for expected in (1, 0):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            async with undone(paths, fast=True) as tx:
                await tx.fetch_all(product)
        assert [one.category for one in caught] == [sa.exc.SAWarning] * expected
