"""What a statement returns, as a file."""

import asyncio
import datetime as dt
import io
import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    TIMESTAMP,
    Column,
    Date,
    Executable,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
    column,
    insert,
    literal,
    literal_column,
    null,
    select,
    text,
    tuple_,
    union_all,
    values,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from dalkit import TransactionManager
from dalkit.bulk import CSV, JSON_LINES, Csv, export
from dalkit.bulk.exporting import PAUSE, SMALL

from tests.bulk.conftest import Load, Stored
from tests.bulk.things import COLUMNS

AWKWARD = "line\nbreak\r, tab\t \"quotes\" 'single' back\\slash \\. é 🦄 %s %(x)s $1"


async def _exported(transaction: TransactionManager, statement: Executable, **options: Any) -> str:
    target = io.BytesIO()
    await export(transaction, statement, target, **options)
    return target.getvalue().decode()


@pytest.mark.parametrize("file_format", [CSV, JSON_LINES, Csv(delimiter=";", null="NULL")])
async def test_what_is_exported_can_be_loaded_again(
    transaction: TransactionManager,
    thing: Table,
    load_things: Load,
    stored: Stored,
    file_format: Any,
) -> None:
    for row in (
        {"code": "a", "note": AWKWARD, "price": Decimal("1.50"), "tags": ["x", 'y"', None]},
        {"code": "b", "note": "", "data": {"k": [1, {"s": AWKWARD}]}, "raw": [1], "ok": False},
        {"code": "c", "note": "null", "tags": [], "at": dt.datetime(2026, 1, 2, tzinfo=dt.UTC)},
        {"code": "d", "note": None, "price": None, "tags": None, "ok": None},
    ):
        await transaction.execute(insert(thing).values(row))
    before = await stored(*COLUMNS)
    statement = select(*(thing.c[name] for name in COLUMNS))
    content = await _exported(transaction, statement, file_format=file_format)
    await transaction.execute(thing.delete())
    await load_things(content.encode(), file_format=file_format)
    assert await stored(*COLUMNS) == before


async def test_nothing_exported_is_a_header_or_nothing(
    transaction: TransactionManager, thing: Table
) -> None:
    nothing = select(thing.c.code)
    assert await _exported(transaction, nothing) == "code\n"
    assert await _exported(transaction, nothing, file_format=JSON_LINES) == ""


async def test_any_statement_that_returns_rows_is_exported(
    transaction: TransactionManager, thing: Table
) -> None:
    await _exported(transaction, insert(thing).values(code="a", note="%").returning(thing.c.code))
    statements: list[Any] = [
        select(thing.c.code, thing.c.note).where(thing.c.code == "a"),
        union_all(select(literal("a").label("code"), literal("%").label("note"))),
        text("SELECT code, note FROM thing WHERE code = :code").bindparams(code="a"),
        thing.update().values(note="%").returning(thing.c.code, thing.c.note),
        select(values(column("code", Text), column("note", Text), name="v").data([("a", "%")])),
    ]
    for statement in statements:
        assert await _exported(transaction, statement) == "code,note\na,%\n"
        assert json.loads(await _exported(transaction, statement, file_format=JSON_LINES)) == {
            "code": "a",
            "note": "%",
        }


async def test_a_statement_without_rows_is_refused(transaction: TransactionManager) -> None:
    with pytest.raises(TypeError, match="gives no rows"):
        await _exported(transaction, MetaData)  # type: ignore[arg-type]


async def test_a_path_a_stream_and_a_function_are_targets(
    transaction: TransactionManager, tmp_path: Path
) -> None:
    numbers: Any = select(literal_column("n")).select_from(text("generate_series(1, 200000) AS n"))
    pieces: list[bytes] = []
    stream, sizes = io.BytesIO(), list[int]()

    async def take(piece: bytes) -> None:
        pieces.append(piece)

    for target in (tmp_path / "n.csv", stream, take):
        assert await export(transaction, numbers, target, progress=sizes.append) == 200_000
    content = (tmp_path / "n.csv").read_bytes()
    assert content == stream.getvalue() == b"".join(pieces)
    assert sum(sizes) == 3 * len(content)
    assert len(pieces) > 1


async def test_small_pieces_are_gathered(transaction: TransactionManager) -> None:
    """PostgreSQL sends 8 KiB at a time, and to wake up for each would cost as much as the rest."""
    loop, taken = asyncio.get_running_loop(), list[tuple[float, int]]()

    async def take(piece: bytes) -> None:
        taken.append((loop.time(), len(piece)))

    numbers: Any = select(literal_column("n")).select_from(text("generate_series(1, 100000) AS n"))
    await export(transaction, numbers, take)
    waits = [after - at for (at, size), (after, _) in pairwise(taken) if size < SMALL]
    assert min(waits, default=PAUSE) >= PAUSE * 0.9
    assert len(taken) > 1


VALUES: list[tuple[Any, Any]] = [
    (Integer(), -7),
    (Float(), 0.1),
    (Numeric(), Decimal("-12345678901234567890.123456789")),
    (Text(), "a"),
    (Date(), dt.date(2026, 2, 28)),
    (TIMESTAMP(timezone=True), dt.datetime(2026, 1, 1, 1, 2, 3, 4, tzinfo=dt.UTC)),
    (Interval(), dt.timedelta(days=-1, seconds=1, microseconds=2)),
    (Uuid(), UUID(int=7)),
    (LargeBinary(), b"\x00'\\\xff"),
    (JSONB(), {"a": ["'", None, 1.5]}),
    (ARRAY(Text()), ["a'b", None, '"', "\\"]),
    (ARRAY(Integer()), [[1, 2], [3, 4]]),
    (Integer(), None),
]


@pytest.mark.parametrize(("type_", "value"), VALUES, ids=lambda it: str(it)[:20])
async def test_values_of_every_type_reach_the_statement_unchanged(
    transaction: TransactionManager, type_: Any, value: Any
) -> None:
    """COPY's statement compares the written value with the one that a parameter carried."""
    table = Table("kept", MetaData(), Column("value", type_), prefixes=["TEMPORARY"])
    await (await transaction.connection()).run_sync(table.create)
    await transaction.execute(insert(table).values(value=value))
    same = table.c.value.is_not_distinct_from(literal(value, type_))
    assert await _exported(transaction, select(same.label("same"))) == "same\nt\n"


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
async def test_values_cannot_leave_their_literals(
    transaction: TransactionManager, hostile: list[str]
) -> None:
    written = [*hostile, "'; DROP TABLE book; --", "\\'", "E'\\''", "$1", "%s", "%(param_1)s", "$$"]
    statement = select(*(literal(value).label(f"c{n}") for n, value in enumerate(written)))
    line = await _exported(transaction, statement, file_format=JSON_LINES)
    assert list(json.loads(line).values()) == written


async def test_values_are_safe_without_standard_conforming_strings(
    transaction: TransactionManager,
) -> None:
    """Backslashes are escapes then; PostgreSQL, which knows, writes the literals."""
    await transaction.execute(text("SET LOCAL standard_conforming_strings = off"))
    await transaction.execute(text("SET LOCAL escape_string_warning = off"))
    line = await _exported(
        transaction, select(literal("\\'; --\\").label("c")), file_format=JSON_LINES
    )
    assert json.loads(line) == {"c": "\\'; --\\"}


async def test_names_that_look_like_parameters_stay_names(transaction: TransactionManager) -> None:
    """asyncpg's own copy_from_query would write the value into the quoted name."""
    table = Table("odd", MetaData(), Column("x$1", Text), Column("50%(y)s %s", Text))
    table.append_column(Column("n", Integer))
    await (await transaction.connection()).run_sync(table.create)
    await transaction.execute(insert(table).values({"x$1": "a", "50%(y)s %s": "b", "n": 1}))
    hostile = '"; DROP TABLE odd; --'
    rows = select(table, null().label("z")).where(
        table.c["x$1"] != hostile, table.c.n.in_([1, 2]), tuple_(table.c.n, table.c.n).in_([(1, 1)])
    )
    assert await _exported(transaction, rows) == "x$1,50%(y)s %s,n,z\na,b,1,\n"
