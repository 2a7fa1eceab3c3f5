"""Which statements are compiled to plans, which are left to SQLAlchemy, and how plans are kept."""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dalkit import DataAccessLayer

from tests.fast.both_paths import same_on_both


class Base(DeclarativeBase):
    """The registry of the ORM class below."""


class Owner(Base):
    """The table `owner`, for the ORM."""

    __tablename__ = "owner"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str | None]


OWNER = sa.table(
    "owner", sa.column("id", sa.Integer), sa.column("email", sa.Text), sa.column("age", sa.Integer)
)
KEYED = sa.Table(
    "owner",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("email", sa.Text, default=lambda: "made@in.python"),
    sa.Column("age", sa.Integer, onupdate=7),
)
PET = sa.Table(
    "pet",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("owner_id", sa.Integer),
)
ID, EMAIL, AGE = OWNER.c
X = sa.bindparam("x", type_=sa.Integer)
ONE = sa.insert(OWNER).values(id=1, email="a@b")
BY_X = sa.select(ID).where(ID == X)


class Unknown(sa.ColumnElement[int]):
    """An expression that no dialect can compile."""

    inherit_cache = True


class Uncached(sa.types.UserDefinedType[int]):
    """A type that does not say whether it may be cached."""

    cache_ok = False

    def get_col_spec(self, **options: Any) -> str:
        """An integer."""
        return "integer"


Case = tuple[Any, Any]
COMPILED: dict[str, Case] = {
    "a select": (sa.select(OWNER), None),
    "no parameters": (sa.select(OWNER), {}),
    "a literal": (sa.select(ID).where(ID == 1), None),
    "a parameter": (BY_X, {"x": 1}),
    "a parameter with a value of its own": (sa.select(sa.bindparam("y", 5)), None),
    "that value replaced": (sa.select(sa.bindparam("y", 5)), {"y": 6}),
    "a parameter that is None": (BY_X, {"x": None}),
    "a parameter from a function": (
        sa.select(sa.bindparam("y", callable_=lambda: 5, type_=sa.Integer)),
        None,
    ),
    "a limit": (sa.select(ID).limit(2).offset(sa.bindparam("o", 1)), {"o": 0}),
    "FOR UPDATE": (sa.select(ID).with_for_update(skip_locked=True), None),
    "INSERT": (ONE.returning(OWNER), None),
    "INSERT of parameters": (sa.insert(OWNER).returning(OWNER), {"id": 1, "email": "a"}),
    "INSERT of parameters and values": (ONE.returning(OWNER), {"age": 6}),
    "INSERT of an expression": (ONE.values(age=X + 1).returning(AGE), {"x": 1}),
    "UPDATE of parameters": (sa.update(OWNER).returning(OWNER), {"age": 2}),
    "UPDATE of a parameter": (sa.update(OWNER).values(age=X).returning(AGE), {"x": 1}),
    "DELETE": (sa.delete(OWNER).where(ID == X).returning(ID), {"x": 1}),
    "an upsert": (pg.insert(OWNER).values(id=1).on_conflict_do_nothing().returning(ID), None),
}
#: SQLAlchemy runs these, or says what is wrong with them.
LEFT: dict[str, Case] = {
    "an IN list": (sa.select(ID).where(ID.in_([1, 2])), None),
    "an IN parameter": (sa.select(ID).where(ID.in_(sa.bindparam("y", expanding=True))), {"y": [1]}),
    "a literal_execute": (sa.select(sa.bindparam("y", 1, literal_execute=True)), None),
    "text": (sa.text("SELECT 1 AS one"), None),
    "text with columns": (sa.text("SELECT 1 AS one").columns(one=sa.Integer), None),
    "a list of parameters": (sa.insert(OWNER).returning(ID), [{"id": 1}, {"id": 2}]),
    "one parameter set in a list": (BY_X, [{"x": 1}]),
    "many VALUES": (sa.insert(OWNER).values([{"id": 1}, {"id": 2}]).returning(ID), None),
    "a values construct": (sa.select(sa.values(ID, name="v").data([(1,), (2,)])), None),
    "a default made in Python": (sa.insert(KEYED).values(id=1).returning(KEYED), None),
    "an onupdate made in Python": (sa.update(KEYED).values(email="x").returning(KEYED), None),
    "RETURNING added by SQLAlchemy": (sa.insert(PET).values(owner_id=None), None),
    "INSERT that returns nothing": (ONE, None),
    "UPDATE that returns nothing": (sa.update(OWNER).values(age=2), None),
    "DELETE that returns nothing": (sa.delete(OWNER), None),
    "a literal's name": (sa.select(ID).where(ID == 1), {"id_1": 2}),
    "a value's name": (ONE.returning(OWNER), {"id": 5}),
    "an unknown name": (BY_X, {"x": 1, "y": 2}),
    "an unknown column": (sa.insert(OWNER).returning(ID), {"id": 1, "nickname": "x"}),
    "no value": (BY_X, None),
    "the wrong name": (BY_X, {"y": 1}),
    "a parameter named like a column": (
        sa.update(OWNER).values(email="x").where(sa.bindparam("age") == ID).returning(ID),
        {"age": 1},
    ),
    "params()": (sa.select(ID).where(ID == X).params(x=1), None),
    "params() over a value": (sa.select(sa.bindparam("y", 5)).params(y=6), None),
    "a translated schema": (
        sa.select(OWNER).execution_options(schema_translate_map={None: "elsewhere"}),
        None,
    ),
    "a name that SQLAlchemy escapes": (sa.select(sa.bindparam("a:b", 1)), None),
    "yield_per": (sa.select(ID).execution_options(yield_per=2), None),
    "an ORM class": (sa.select(Owner), None),
    "an ORM column": (sa.select(Owner.email), None),
    "an ORM insert": (sa.insert(Owner).values(id=1).returning(Owner.id), None),
    "no dialect's expression": (sa.select(Unknown()), None),
    "an uncached type": (sa.select(sa.cast(1, Uncached())), None),
    "no columns": (sa.select(), None),
    "DDL": (sa.schema.CreateSchema("other"), None),
    "a function": (sa.func.lower("X"), None),
    "parameters that are no mapping": (BY_X, 5),
    "parameters of tuples": (BY_X, [(1,)]),
}


def is_compiled(dal: DataAccessLayer, statement: Any, parameters: Any = None) -> bool:
    """Whether it runs on asyncpg itself."""
    return dal.compiled(statement, parameters) is not None


@pytest.mark.parametrize("name", COMPILED)
async def test_a_plan_gives_what_sqlalchemy_gives(paths: DataAccessLayer, name: str) -> None:
    assert is_compiled(paths, *COMPILED[name])
    assert (await same_on_both(paths, *COMPILED[name]))[0] is list
    assert is_compiled(paths, *COMPILED[name])


@pytest.mark.parametrize("name", LEFT)
async def test_what_has_no_plan_is_left_to_sqlalchemy(paths: DataAccessLayer, name: str) -> None:
    assert not is_compiled(paths, *LEFT[name])
    await same_on_both(paths, *LEFT[name])
    assert not is_compiled(paths, *LEFT[name])
