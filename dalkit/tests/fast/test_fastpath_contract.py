"""What fast/fastpath.py and fast/checkout.py use of SQLAlchemy without being promised it."""

from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import QueuePool
from sqlalchemy.dialects.postgresql import INT4RANGE, Range
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.compiler import SQLCompiler

from dalkit import DataAccessLayer
from dalkit.data.engine import create_engine

T = sa.table("t", sa.column("id", sa.Integer), sa.column("span", INT4RANGE))
FLOAT, NUMERIC, INT_RANGE = 701, 1700, 3904  # pg_type.oid


class Base(DeclarativeBase):
    """The registry of the ORM class below."""


class Mapping(Base):
    """A class of the ORM."""

    __tablename__ = "mapped"
    id: Mapped[int] = mapped_column(primary_key=True)


def statement(number: int) -> sa.Select[Any]:
    """A statement with a value of its own, used twice, and a parameter."""
    value = sa.literal(number)
    return sa.select(T.c.id, T.c.span).where(T.c.id > value, T.c.id < value + sa.bindparam("x"))


def compiled(dal: DataAccessLayer, number: int = 1, **options: Any) -> Any:
    """That statement, compiled as the compiled path does."""
    asked = statement(number)
    key: Any = asked._generate_cache_key()
    return asked.compile(dialect=dal.engine.dialect, cache_key=key, **options)


def test_the_cache_key_tells_shapes_apart_and_has_the_values_in_order() -> None:
    one, two = statement(1)._generate_cache_key(), statement(2)._generate_cache_key()
    other = sa.select(T.c.span)._generate_cache_key()
    assert one is not None
    assert two is not None
    assert other is not None
    assert one.key == two.key != other.key
    assert hash(one.key) == hash(two.key)
    assert one.bindparams[0].value == 1
    assert two.bindparams[0].value == 2
    assert not one.params


def test_params_are_part_of_the_cache_key_object() -> None:
    key = statement(1).params(x=4)._generate_cache_key()
    assert key is not None
    assert key.params


def test_only_statements_of_the_orm_propagate_attributes() -> None:
    assert not statement(1)._propagate_attrs
    assert sa.select(Mapping)._propagate_attrs
    assert sa.select(Mapping.id)._propagate_attrs
    assert sa.insert(Mapping)._propagate_attrs


def test_each_value_of_the_cache_key_leads_to_the_binds_of_the_sql(db: DataAccessLayer) -> None:
    asked = statement(1)
    key: Any = asked._generate_cache_key()
    found: Any = asked.compile(dialect=db.engine.dialect, cache_key=key)
    assert isinstance(found, SQLCompiler)
    places = found.positiontup or []
    matches: Any = found._cache_key_bind_match
    names = [found.bind_names[bind] for one in key.bindparams for bind in matches[0][one]]
    assert set(places) == set(names)
    assert len(places) == 2  # one for the value that is used twice
    for name in names:
        assert found.binds[name] in [bind for one in key.bindparams for bind in matches[0][one]]


def test_a_parameter_without_a_value_is_required(db: DataAccessLayer) -> None:
    binds = compiled(db).binds
    assert [name for name, bind in binds.items() if bind.required] == ["x"]


def test_columns_of_the_result_are_there_in_order_with_their_types(db: DataAccessLayer) -> None:
    columns = compiled(db)._result_columns
    assert [column.keyname for column in columns] == ["id", "span"]
    assert [type(column.type) for column in columns] == [sa.Integer, INT4RANGE]
    assert not sa.insert(T).compile(dialect=db.engine.dialect)._result_columns


def test_processors_are_found_by_the_name_of_the_bind_and_by_oid(db: DataAccessLayer) -> None:
    dialect: Any = db.engine.dialect
    found: Any = sa.select(sa.literal(Range(1, 2), INT4RANGE), sa.literal(1)).compile(
        dialect=dialect
    )
    [(name, process)] = found._bind_processors.items()
    assert type(process(found.binds[name].value)) is not Range
    as_float = sa.Numeric(asdecimal=False)
    assert as_float._cached_result_processor(dialect, FLOAT) is None
    to_float: Any = as_float._cached_result_processor(dialect, NUMERIC)
    assert type(to_float(Decimal("1.5"))) is float
    assert sa.Integer()._cached_result_processor(dialect, 23) is None
    assert INT4RANGE()._cached_result_processor(dialect, INT_RANGE) is not None


@pytest.mark.parametrize(
    ("attribute", "varying"),
    [
        ("post_compile_params", sa.select(T.c.id).where(T.c.id.in_([1]))),
        ("literal_execute_params", sa.select(sa.bindparam("y", 1, literal_execute=True))),
        ("escaped_bind_names", sa.select(sa.bindparam("a:b", 1))),
        ("prefetch", sa.insert(sa.Table("t", sa.MetaData(), sa.Column("a", default=lambda: 1)))),
        ("implicit_returning", sa.insert(Mapping)),
    ],
)
def test_the_compiler_tells_what_varies(
    db: DataAccessLayer, attribute: str, varying: sa.Select[Any]
) -> None:
    assert getattr(varying.compile(dialect=db.engine.dialect, column_keys=[]), attribute)
    assert not getattr(compiled(db), attribute)


def test_the_pool_tells_how_many_connections_there_may_be(db: DataAccessLayer) -> None:
    pool: Any = db.engine.sync_engine.pool
    assert isinstance(pool, QueuePool)
    assert (pool.size(), pool._max_overflow, pool.timeout()) == (10, 0, 5.0)


async def test_a_connection_that_has_to_be_made_needs_a_greenlet(paths: DataAccessLayer) -> None:
    await paths.engine.dispose()
    with pytest.raises(MissingGreenlet):
        paths.engine.sync_engine.raw_connection()
    async with paths.engine.connect():
        pass
    paths.engine.sync_engine.raw_connection().close()


@pytest.mark.parametrize("name", ["before_execute", "engine_connect", "do_execute", "handle_error"])
async def test_an_engine_or_its_dialect_tells_whether_anybody_ever_listened(
    paths: DataAccessLayer, name: str
) -> None:
    sync: Any = paths.engine.sync_engine
    sync._has_events = sync.dialect._has_events = False  # whatever other tests did to all engines
    sa.event.listen(sync, name, lambda *_: None)
    assert sync._has_events or sync.dialect._has_events


async def test_a_pool_that_pings_is_taken_from_with_a_greenlet(paths_url: str) -> None:
    engine = create_engine(paths_url, pool_pre_ping=True)
    dal = DataAccessLayer()
    dal.use(engine)
    pids = set()
    for _ in range(3):
        async with dal.transaction() as tx:
            pids.add(await tx.fetch_value(sa.select(sa.func.pg_backend_pid())))
    assert len(pids) == 1  # without one SQLAlchemy would give the connection up each time
    await engine.dispose()
