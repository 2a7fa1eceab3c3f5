"""Types and names that are declared, and expressions: the same on both paths."""

import enum
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from dalkit import DataAccessLayer

from tests.fast.both_paths import same_on_both


class Mood(enum.Enum):
    """The labels of the type `mood`."""

    SAD = "sad"
    OK = "it's ok"
    HAPPY = "Happy"


class Cents(sa.TypeDecorator[int]):
    """An integer in Python, a numeric in PostgreSQL."""

    impl = sa.Numeric
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Decimal | None:
        """Divide; -1 is refused."""
        if value == -1:
            raise ArithmeticError("no debts")
        return None if value is None else Decimal(value) / 100

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> int | None:
        """Multiply."""
        return None if value is None else int(value * 100)


MOOD = sa.Enum(Mood, name="mood", values_callable=lambda kind: [one.value for one in kind])
DECLARED = sa.Table(
    "every_type",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("n", sa.Numeric(asdecimal=False), key="number"),
    sa.Column("n2", Cents, key="cents"),
    sa.Column("f8", sa.Float(asdecimal=True)),
    sa.Column("mood", MOOD),
    sa.Column("amood", pg.ARRAY(MOOD)),
    sa.Column("j", sa.JSON(none_as_null=True)),
    sa.Column("jb", pg.JSONB),
    sa.Column("u", sa.Uuid(as_uuid=False)),
    sa.Column("iv", sa.Interval),
    sa.Column("ai", pg.ARRAY(sa.Integer, as_tuple=True)),
    sa.Column("t", sa.Text),
)
C = DECLARED.c
VALUES: dict[str, Any] = {
    "id": 1,
    "number": 1.25,
    "cents": 1234,
    "f8": Decimal("2.5"),
    "mood": Mood.OK,
    "amood": [Mood.SAD, None, Mood.HAPPY],
    "j": {"a": [1, None]},
    "jb": {"b": 1.5, "a": None},
    "u": "12345678-1234-5678-1234-567812345678",
    "ai": [1, None],
    "t": "it's",
}
ONE = sa.insert(DECLARED).values(VALUES)
ROW = ONE.returning(DECLARED).cte("row_")


def returned(*expressions: Any) -> sa.Insert:
    """The statement that adds the row and returns this of it."""
    return ONE.returning(*expressions)


OTHER = DECLARED.alias("other")
FIVE: sa.BindParameter[int] = sa.bindparam("five", 5)
TEN = sa.select(sa.func.generate_series(1, 10).label("n")).subquery("ten")
TWICE = sa.select((TEN.c.n * 2).label("m")).lateral("twice")
STATEMENTS: dict[str, Any] = {
    "types": returned(DECLARED),
    "nulls": sa.insert(DECLARED).values(id=1, j=None, jb=None, mood=None).returning(DECLARED),
    "json null": sa.insert(DECLARED)
    .values(id=1, j=sa.JSON.NULL, jb=sa.null())
    .returning(C.j, C.jb),
    "a label": returned(C.cents.label("money"), (C.number * 2).label("id")),
    "no label": returned(C.cents + 1, sa.func.lower(C.t), sa.literal("x")),
    "a name that PostgreSQL does not give": sa.select(sa.literal_column("1 + 1")),
    "key is not name": returned(C.number, C.cents),
    "a cast": returned(
        sa.cast(C.number, Cents), sa.cast(C.id, sa.Text), sa.type_coerce(C.cents, sa.Numeric)
    ),
    "functions": sa.select(sa.func.max(TEN.c.n), sa.func.count(), sa.func.coalesce(sa.null(), 1)),
    "json path": returned(C.jb["b"], C.jb["b"].as_float(), C.jb[("b", "c")].astext, C.j["a"]),
    "an array's element": returned(C.ai[1], C.amood[1], C.ai[1:2]),
    "a CTE that writes": sa.select(ROW),
    "a recursive CTE": sa.select(
        (base := sa.select(sa.literal(1).label("n")).cte("c", recursive=True)).union_all(
            sa.select(base.c.n + 1).where(base.c.n < 5)
        )
    ),
    "a union": sa.union(sa.select(sa.literal(1).label("n")), sa.select(sa.literal(2))).order_by(
        "n"
    ),
    "a union of types": sa.union_all(
        sa.select(sa.literal(1, Cents).label("c")), sa.select(sa.literal(None, Cents))
    ),
    "a subquery": sa.select(TEN.c.n, sa.select(sa.func.sum(TEN.c.n)).scalar_subquery()),
    "a lateral": sa.select(TEN.c.n, TWICE.c.m).join(TWICE, sa.true()),
    "a window": sa.select(TEN.c.n, sa.func.row_number().over(order_by=TEN.c.n.desc()).label("r")),
    "a case": sa.select(sa.case((TEN.c.n > 5, "big"), else_="small").label("size"))
    .limit(7)
    .offset(2),
    "exists": sa.select(sa.exists(sa.select(TEN.c.n).where(TEN.c.n == 3)).label("there")),
    "one value twice": sa.select(FIVE, TEN.c.n).where(TEN.c.n == FIVE),
    "ANY of an array": sa.select(TEN).where(
        TEN.c.n == sa.any_(sa.literal([1, 2], pg.ARRAY(sa.Integer)))
    ),
    "an upsert": pg.insert(DECLARED)
    .values(VALUES)
    .on_conflict_do_update(index_elements=["id"], set_={"t": "new", "number": sa.literal(3) / 2})
    .returning(C.t, C.number),
    "a percent sign": sa.select(
        sa.literal("%s %% :x $1").label("100%"), sa.literal_column("'%'").label(":a b")
    ),
    "an aggregate": sa.select(sa.func.array_agg(TEN.c.n).label("all")),
    "no row": sa.select(TEN).where(sa.false()),
    "INSERT FROM SELECT": sa.insert(DECLARED)
    .from_select(["id", "cents"], sa.select(TEN.c.n, sa.literal(5, Cents)))
    .returning(C.id, C.cents),
    "a value that is an expression": sa.insert(DECLARED)
    .values(id=sa.func.abs(-4), cents=sa.literal(2, sa.Integer))
    .returning(C.id),
    "UPDATE": sa.update(DECLARED).values(cents=5).where(C.id == 1).returning(C.cents),
    "UPDATE FROM": sa.update(DECLARED)
    .values(cents=OTHER.c.cents)
    .where(C.id == OTHER.c.id)
    .returning(OTHER.c.cents),
    "DELETE": sa.delete(DECLARED).where(C.cents > 5).returning(C.id, (C.cents * 2).label("double")),
}


@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_statement_gives_the_same_on_both_paths(paths: DataAccessLayer, name: str) -> None:
    assert paths.compiled(STATEMENTS[name], None) is not None
    found = await same_on_both(paths, STATEMENTS[name])

    assert found[0] is list, found
