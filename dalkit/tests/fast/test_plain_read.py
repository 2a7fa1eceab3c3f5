"""Which statements run before BEGIN."""

import pytest
import sqlalchemy as sa

from dalkit.fast.fastpath import is_plain_read

T = sa.table("t", sa.column("id"), sa.column("name"))


@pytest.mark.parametrize(
    "statement",
    [
        sa.select(T),
        sa.select(T.c.id).where(T.c.name == "x").order_by(T.c.id).limit(1),
        sa.select(sa.func.count()).select_from(T),
        sa.select(sa.func.lower(T.c.name)).group_by(T.c.name),
        sa.select(T).where(sa.exists(sa.select(T.c.id))),
    ],
)
def test_a_select_without_side_effects_is_plain(statement: sa.Select[tuple[int]]) -> None:
    assert is_plain_read(statement)


@pytest.mark.parametrize(
    "statement",
    [
        sa.insert(T),
        sa.update(T),
        sa.delete(T),
        sa.text("SELECT 1"),
        sa.select(sa.text("1")),
        sa.select(sa.literal_column("nextval('s')")),
        sa.select(T).with_for_update(),
        sa.select(T).where(sa.exists(sa.select(T.c.id).with_for_update())),
        sa.select(sa.func.nextval("s")),
        sa.select(sa.func.now()),
        sa.select(sa.insert(T).values(id=1).returning(T.c.id).cte()),
    ],
)
def test_anything_that_may_write_lock_or_differ_is_not(statement: object) -> None:
    assert not is_plain_read(statement)
