"""Values of every type of PostgreSQL: on both paths the same, in value and in Python type."""

import ipaddress
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.dialects.postgresql.ranges import MultiRange

from dalkit import DataAccessLayer, TransactionManager

from tests.fast.both_paths import same_on_both, shape, undone

Strategy = st.SearchStrategy[Any]
Row = Mapping[str, Any]

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)
ZONES = st.integers(-15 * 4, 15 * 4).map(lambda n: timezone(timedelta(minutes=15 * n)))
DECIMALS = st.decimals() | st.decimals(-99, 99, places=3)
FINITE = st.decimals(-999, 999, places=1)
DATES = st.dates(date(1, 1, 2), date(9999, 12, 30))
STAMPS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001
INSTANTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=ZONES)  # noqa: DTZ001
SPANS = st.timedeltas(timedelta(days=-9999), timedelta(days=9999))
INTS = st.integers(-(2**31), 2**31 - 2)
LONGS = st.integers(-(2**63), 2**63 - 2)
MOODS = st.sampled_from(["sad", "it's ok", "Happy"])
BITS = st.text("01", max_size=20)
NETS = st.ip_addresses().flatmap(
    lambda ip: st.integers(0, ip.max_prefixlen).map(
        lambda n: ipaddress.ip_network((ip, n), strict=False)
    )
)
JSON = st.recursive(
    st.none() | st.booleans() | LONGS | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)


def ranges(of: Strategy) -> Strategy:
    """Ranges: bounded or not, with and without their ends, and empty ones."""
    ends = st.tuples(st.none() | of, st.none() | of).map(ordered)
    bounded = st.tuples(ends, st.sampled_from(["[)", "[]", "()", "(]"]))
    return bounded.map(lambda it: Range(*it[0], bounds=it[1])) | st.just(Range(empty=True))


def ordered(ends: tuple[Any, Any]) -> tuple[Any, Any]:
    """The lower end first."""
    lower, upper = ends
    return (upper, lower) if None not in ends and upper < lower else ends


def several(of: Strategy) -> Strategy:
    """Multiranges."""
    return st.lists(ranges(of), max_size=2).map(MultiRange)


def array(of: Strategy) -> Strategy:
    """Arrays of one dimension, with NULLs in them."""
    return st.lists(st.none() | of, max_size=3)


VALUES: dict[str, Strategy] = {
    "b": st.booleans(),
    "i2": st.integers(-(2**15), 2**15 - 1),
    "i4": INTS,
    "i8": LONGS,
    "f4": st.floats(width=32),
    "f8": st.floats(),
    "n": DECIMALS,
    "n2": st.decimals(-(10**9), 10**9, allow_nan=True, allow_infinity=False),
    "n0": st.decimals(-9999, 9999) | st.just(Decimal("1E+3")),
    "t": TEXT,
    "vc": TEXT,
    "v9": TEXT,
    "c5": TEXT.map(lambda text: text[:5]),
    "name": TEXT,
    "bytes": st.binary(max_size=9),
    "u": st.uuids(),
    "d": st.dates(),
    "tm": st.times(),
    "tm3": st.times(),
    "tmz": st.times(timezones=ZONES),
    "ts": st.datetimes(),
    "tz": INSTANTS
    | st.sampled_from([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]),
    "tz0": INSTANTS,
    "iv": SPANS,
    "iym": SPANS,
    "ids": SPANS,
    "j": JSON,
    "jb": JSON,
    "mood": MOODS,
    "short": TEXT.map(lambda text: text[:5]).filter(lambda text: text != "no"),
    "ci": TEXT,
    "ip": st.ip_addresses().map(ipaddress.ip_interface) | NETS.map(ipaddress.ip_interface),
    "net": NETS,
    "mac": st.from_regex(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", fullmatch=True),
    "mac8": st.from_regex(r"([0-9a-f]{2}:){7}[0-9a-f]{2}", fullmatch=True),
    "bit5": st.text("01", min_size=5, max_size=5),
    "bits": BITS,
    "m": st.decimals(-(10**9), 10**9, places=2).map(str),
    "o": st.integers(0, 2**32 - 1),
    "r4": ranges(INTS),
    "r8": ranges(LONGS),
    "rn": ranges(FINITE),
    "rd": ranges(DATES),
    "rts": ranges(STAMPS),
    "rtz": ranges(INSTANTS),
    "m4": several(INTS),
    "m8": several(LONGS),
    "mn": several(FINITE),
    "md": several(DATES),
    "mts": several(STAMPS),
    "mtz": several(INSTANTS),
    "ab": array(st.booleans()),
    "ai": array(INTS),
    "an": array(FINITE),
    "at": array(TEXT),
    "au": array(st.uuids()),
    "ad": array(st.dates()),
    "atz": array(INSTANTS),
    "aiv": array(SPANS),
    "aby": array(st.binary(max_size=4)),
    "aj": array(st.dictionaries(TEXT, JSON, max_size=2)),  # a list would be a dimension
    "amood": array(MOODS),
    "av": array(TEXT.map(lambda text: text[:7])),
    "apair": array(INTS),
    "nested": st.lists(st.tuples(INTS, st.none() | INTS).map(list), max_size=3),
    "ar": array(ranges(INTS)),
}
ROWS = st.fixed_dictionaries({name: st.none() | one for name, one in VALUES.items()})


async def written(tx: TransactionManager, values: Row) -> list[object]:
    """Write a row; return what RETURNING tells and what PostgreSQL has stored, as text."""
    table = tx.get_table("every_type")
    returned = await tx.fetch_all(sa.insert(table).values({**values, "id": 1}).returning(table))
    stored = await (await tx.get_dbapi_connection()).fetchval(
        "SELECT every_type::text FROM every_type"
    )
    return [shape(returned), stored]


async def read(tx: TransactionManager, dal: DataAccessLayer, *, fast: bool) -> object:
    """The row as one of the paths reads it, and streams it."""
    dal.fast_path = fast
    statement = sa.select(tx.get_table("every_type"))
    found = shape(await tx.fetch_all(statement))
    assert shape([row async for row in tx.stream(statement)]) == found
    return found


async def through_both(dal: DataAccessLayer, values: Row) -> None:
    """Write on each path, read on each path, and compare."""
    found = []
    for fast in (True, False):
        async with undone(dal, fast=fast) as tx:
            row = await written(tx, values)
            row += [await read(tx, dal, fast=reader) for reader in (True, False)]
            found.append(row)
    assert found[0] == found[1]
    assert found[0][0] == found[0][2] == found[0][3]


@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(values=ROWS)
async def test_a_value_of_any_type_is_the_same_on_both_paths(
    lasting_paths: DataAccessLayer, values: Row
) -> None:
    await through_both(lasting_paths, values)


async def test_every_column_of_the_table_takes_part(paths: DataAccessLayer) -> None:
    assert set(paths.get_table("every_type").c.keys()) == {"id"} | VALUES.keys()


async def test_null_is_null_in_every_column_on_both_paths(paths: DataAccessLayer) -> None:
    await through_both(paths, dict.fromkeys(VALUES))


async def test_what_python_cannot_write_is_read_the_same_on_both_paths(
    paths: DataAccessLayer,
) -> None:
    odd = paths.get_table("odd_type")
    await same_on_both(paths, sa.insert(odd).values(id=1).returning(odd))
    for column in odd.c:
        await same_on_both(paths, sa.insert(odd).values(id=1).returning(column))
