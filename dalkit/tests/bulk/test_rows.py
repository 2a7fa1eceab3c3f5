"""Rows that a model validates."""

import io
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field
from sqlalchemy import Column, Numeric, Table, Text, select

from dalkit import TransactionManager
from dalkit.bulk import CSV, JSON_LINES, BulkError, Csv, load
from dalkit.types import JsonData, JsonInt64, Timestamp

from tests.bulk.things import in_pieces

Read = Callable[..., Awaitable[list[Any]]]
DIGITS = "0.12345678901234567890123"


class New(BaseModel):
    """A row of the file."""

    name: Annotated[str, Field(max_length=5)] = Field(alias="Name")
    exact: Decimal | None = None
    count: JsonInt64 = 0
    at: Timestamp | None = None
    data: dict[str, Any] | None = None


@pytest.fixture
def read(transaction: TransactionManager) -> Read:
    """What is staged of a file."""

    async def run(content: bytes, file_format: Any = CSV, size: int = 1000) -> list[Any]:
        kept: list[Any] = []

        async def keep(tx: TransactionManager, staging: Table) -> None:
            kept.extend(map(tuple, (await tx.execute(select(staging))).all()))

        columns = [
            Column("Name", Text),
            Column("exact", Numeric),
            *(Column(name, Text) for name in ("count", "at", "data")),
        ]
        await load(
            transaction,
            in_pieces(content, size),
            select,
            columns=columns,
            rows=New,
            file_format=file_format,
            after_copy=keep,
        )
        return kept

    return run


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_values_of_csv_are_strings_and_null_is_none(read: Read, size: int) -> None:
    content = b'Name,exact,at\r\n"a\r\n""b",' + DIGITS.encode() + b',\r\n"",,2026-01-01 10:00:00+02'
    rows = await read(content, size=size)
    assert rows == [
        ('a\r\n"b', Decimal(DIGITS), "0", None, None),
        ("", None, "0", "2026-01-01T08:00:00Z", None),
    ]


async def test_numbers_of_json_reach_the_model_as_they_were_written(read: Read) -> None:
    rest = '"count": 1, "data": {"n": [1.50, "x", null, true]}'
    line = f'{{"Name": "a", "exact": {DIGITS}, {rest}}}'
    rows = await read(line.encode(), JSON_LINES)
    assert rows == [("a", Decimal(DIGITS), "1", None, '{"n":[1.5,"x",null,true]}')]
    digits = "9" * 5000
    (row,) = await read(b'{"Name": "a", "exact": %b}' % digits.encode(), JSON_LINES)
    assert str(row[1]) == digits


async def test_another_dialect_is_understood(read: Read) -> None:
    dialect = Csv(header=False, delimiter=";", quote="'", escape="\\", null="-")
    rows = await read(b"'a;\\'';-;7;-;-\n'-';1;2;-;-", dialect)
    assert [row[:3] for row in rows] == [("a;'", None, "7"), ("-", Decimal(1), "2")]


BAD = {
    "in the middle of many": (
        CSV,
        b"Name\n" + b"a\n" * 5000 + b"toolong\n",
        5002,
        "Name",
        "at most 5",
    ),
    "after line breaks": (CSV, b'Name,count\n"a\n\nb",1\nb,x\n', 5, "count", "use a number"),
    "null": (CSV, b"Name,count\na,\n", 2, "count", "valid integer"),
    "required column": (CSV, b"count\n1\n", 1, "Name", "lacks"),
    "unknown column": (CSV, b"Name,nope\na,1\n", 1, "nope", "no such column"),
    "too few values": (CSV, b"Name,count\na,1\nb\n", 3, None, "fewer"),
    "too many values": (CSV, b"Name,count\na,1,2\n", 2, None, "more"),
    "quote not closed": (CSV, b'Name\na\n"b\n', 3, None, "cannot be read"),
    "quote in a value": (CSV, b'Name\na"b\n', 2, None, "cannot be read"),
    "not UTF-8": (CSV, b"Name\na\nb\xff\n", 3, None, "UTF-8"),
    "NUL": (CSV, b"Name\na\0b\n", 2, "Name", "NUL"),
    "JSON": (
        JSON_LINES,
        b'{"Name": "a"}\n\n{"Name": "b", "count": "1"}',
        3,
        "count",
        "use a number",
    ),
    "JSON, key missing": (JSON_LINES, b'{"count": 1}', 1, "Name", "Field required"),
    "JSON, key twice": (JSON_LINES, b'{"Name": "a", "Name": "b"}', 1, "Name", "twice"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
async def test_what_the_model_refuses_is_told_with_row_and_field(read: Read, case: Any) -> None:
    file_format, content, row, column, reason = case
    with pytest.raises(BulkError, match=reason) as caught:
        await read(content, file_format)
    assert (caught.value.row, caught.value.column) == (row, column)
    assert caught.value.status_code == 422


async def test_rules_of_the_table_hold_as_well(
    transaction: TransactionManager, thing: Table
) -> None:
    class NewThing(BaseModel):
        code: str
        price: Decimal | None = None

    source = io.BytesIO(b'code,price\n"a\nb",1\nc,-1\n')
    with pytest.raises(BulkError, match="rule of the database") as caught:
        await load(transaction, source, select, like=thing, rows=NewThing)
    assert (caught.value.row, caught.value.column) == (4, "price")


async def test_a_number_in_jsonb_that_could_not_be_read_again_is_refused(
    transaction: TransactionManager, thing: Table
) -> None:
    class NewThing(BaseModel):
        code: str
        data: JsonData

    source = io.BytesIO(b'{"code": "a", "data": [%b]}' % (b"9" * 5000))
    with pytest.raises(BulkError, match="use finite numbers") as caught:
        await load(transaction, source, select, like=thing, rows=NewThing, file_format=JSON_LINES)
    assert (caught.value.row, caught.value.column) == (1, "data")


async def test_a_bad_row_is_told_before_the_rest_is_sent(read: Read) -> None:
    """An upload of a gigabyte is not read to its end for a mistake in its beginning."""
    sent: list[int] = []

    def lines() -> bytes:
        return b"Name\ntoolong\n" + b"abc\n" * 2_000_000

    content = lines()
    with pytest.raises(BulkError, match="at most 5"):
        await read(_Counted(content, sent), size=65536)
    assert sum(sent) < len(content) / 10


class _Counted(bytes):
    """Bytes that tell how much of them was taken."""

    def __new__(cls, content: bytes, sent: list[int]) -> "_Counted":
        """The same bytes."""
        new = super().__new__(cls, content)
        new.sent = sent
        return new

    sent: list[int]

    def __getitem__(self, part: Any) -> Any:
        found = super().__getitem__(part)
        self.sent.append(len(found))
        return found
