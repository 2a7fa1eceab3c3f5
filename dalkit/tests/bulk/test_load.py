"""What arrives in the tables."""

import io
import json
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import Column, Integer, MetaData, Table, Text, func, insert, select, text, update

from dalkit import TransactionManager
from dalkit.bulk import CSV, JSON_LINES, BulkError, Counts, Csv, load

from tests.bulk.conftest import Load, Stored
from tests.bulk.things import in_pieces, skip_known, upsert

AWKWARD = 'line\nbreak\r\n, tab\t "quotes" \'single\' back\\slash \\n \\. é 🦄 ; {"json": [1]}'


@pytest.mark.parametrize(
    ("content", "file_format"),
    [
        ('code,note\na,"' + AWKWARD.replace('"', '""') + '"\n', CSV),
        (json.dumps({"code": "a", "note": AWKWARD}) + "\n", JSON_LINES),
        (json.dumps({"code": "a", "note": AWKWARD}, ensure_ascii=False), JSON_LINES),
    ],
    ids=["csv", "json with escapes", "json"],
)
async def test_every_character_arrives(
    load_things: Load, stored: Stored, content: str, file_format: Any
) -> None:
    """Line breaks, tabs, quotes and backslashes too, wherever the bytes are cut."""
    await load_things(content.encode(), file_format=file_format)
    assert await stored("code", "note") == [("a", AWKWARD)]


async def test_a_quoted_empty_value_is_text_and_an_unquoted_one_null(
    load_things: Load, stored: Stored
) -> None:
    await load_things(b'code,note\na,""\nb,\n')
    assert await stored("note") == ["", None]


async def test_json_values_arrive_as_their_columns_types(load_things: Load, stored: Stored) -> None:
    line = (
        b'{"code": 7, "price": 12345678.90, "tags": ["a", "b\\"\\\\,{}", null, "NULL"], '
        b'"data": {"n": 1.50, "s": ["x"]}, "raw": "text", "ok": true, "at": null}'
    )
    await load_things(line, file_format=JSON_LINES)
    (row,) = await stored("code", "price", "tags", "data", "raw", "ok", "at")
    tags = ["a", 'b"\\,{}', None, "NULL"]
    expected = ("7", Decimal("12345678.90"), tags, {"n": 1.5, "s": ["x"]}, "text", True, None)
    assert row == expected


async def test_the_columns_may_be_in_any_order_and_some_be_missing(
    load_things: Load, stored: Stored
) -> None:
    await load_things(b"price,code\n1.5,a\n")
    lines = b'{"price": 2, "code": "b"}\n\n{"code": "c", "price": 3}\n{"code": "d"}'
    await load_things(lines, file_format=JSON_LINES)
    assert await stored("price") == [Decimal("1.50"), Decimal(2), Decimal(3), None]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
async def test_any_line_ends_and_a_byte_order_mark_are_understood(
    load_things: Load, stored: Stored, end: bytes
) -> None:
    await load_things(b"\xef\xbb\xbf" + end.join([b'"code"', b"a", b"b", b""]))
    assert await stored("code") == ["a", "b"]


class Coded(BaseModel):
    """A row of one value."""

    code: str


@pytest.mark.parametrize("rows", [None, Coded])
@pytest.mark.parametrize("size", [1, 2, 1000])
@pytest.mark.parametrize(
    ("file_format", "content"),
    [(CSV, b"code\na\n"), (Csv(header=False), b"a\n"), (JSON_LINES, b'{"code": "a"}')],
    ids=["csv", "no header", "json"],
)
async def test_a_byte_order_mark_is_no_part_of_the_file(
    transaction: TransactionManager,
    thing: Table,
    stored: Stored,
    file_format: Any,
    content: bytes,
    size: int,
    rows: type[BaseModel] | None,
) -> None:
    source = in_pieces(b"\xef\xbb\xbf" + content, size)
    options: dict[str, Any] = {"like": thing, "names": ["code"], "rows": rows}
    await load(
        transaction, source, partial(upsert, thing=thing), file_format=file_format, **options
    )
    assert await stored("code") == ["a"]


async def test_the_csv_dialect_can_be_chosen(load_things: Load, stored: Stored) -> None:
    dialect = Csv(delimiter=";", quote="'", null="-", escape="\\")
    await load_things(b"code;note\n'a;\\'1';-\n", file_format=dialect)
    assert await stored("code", "note") == [("a;'1", None)]


async def test_a_file_without_a_header_has_the_columns_in_order(
    load_things: Load, stored: Stored
) -> None:
    await load_things(b"x,a\n", names=["note", "code"], file_format=Csv(header=False))
    assert await stored("code", "note") == [("a", "x")]


async def test_the_counts_tell_what_became_of_the_rows(load_things: Load) -> None:
    assert await load_things(b"code\na\nb\n") == Counts(2, 2, 0, 0)
    assert await load_things(b"code,note\nb,1\nc,2\nd,3\n") == Counts(3, 2, 1, 0)


async def test_rows_that_the_statement_leaves_out_are_skipped(
    transaction: TransactionManager, thing: Table, load_things: Load
) -> None:
    await load_things(b"code\na\n")
    source = io.BytesIO(b"code\na\nb\n")
    counts = await load(
        transaction, source, lambda staging: skip_known(staging, thing), like=thing, names=["code"]
    )
    assert counts == Counts(copied=2, inserted=1, updated=0, skipped=1)


async def test_the_last_of_several_statements_is_counted(
    transaction: TransactionManager, thing: Table, load_things: Load, stored: Stored
) -> None:
    await load_things(b"code\na\nb\n")

    def move(staging: Table) -> list[Any]:
        return [
            update(thing).values(note="before"),
            update(thing).values(note=staging.c.note).where(thing.c.code == staging.c.code),
        ]

    source = io.BytesIO(b"code,note\na,new\nz,x\n")
    counts = await load(transaction, source, move, like=thing, names=["code", "note"])
    assert counts == Counts(copied=2, inserted=0, updated=1, skipped=1)
    assert await stored("note") == ["new", "before"]


async def test_the_staged_rows_can_be_changed_before_they_are_moved(
    load_things: Load, stored: Stored
) -> None:
    async def shout(tx: TransactionManager, staging: Table) -> None:
        await tx.execute(update(staging).values(note=func.upper(staging.c.note)))

    await load_things(b"code,note\na,x\n", after_copy=shout)
    assert await stored("note") == ["X"]


async def test_the_staging_table_may_have_columns_of_its_own(
    transaction: TransactionManager, thing: Table, stored: Stored
) -> None:
    columns: list[Column[Any]] = [
        Column("number", Integer, nullable=False),
        Column("drop me", Text),
    ]

    def move(staging: Table) -> Any:
        doubled = select((staging.c.number * 2).cast(Text), staging.c["drop me"])
        return insert(thing).from_select(["code", "note"], doubled)

    source = io.BytesIO(b'"drop me",number\nx,21\n')
    await load(transaction, source, move, columns=columns)
    assert await stored("code", "note") == [("42", "x")]


async def test_a_path_a_stream_and_an_async_iterable_are_sources(
    transaction: TransactionManager, thing: Table, stored: Stored, tmp_path: Path
) -> None:
    path = tmp_path / "things.csv"
    path.write_bytes(b"code\na\n")
    sizes: list[int] = []
    for source in (path, str(path), io.BytesIO(b"code\nb\n"), in_pieces(b"code\nc\n", 1)):
        await load(
            transaction,
            source,
            lambda staging: upsert(staging, thing),
            like=thing,
            names=["code"],
            progress=sizes.append,
        )
    assert await stored("code") == ["a", "b", "c"]
    assert sizes == [7] * 3 + [1] * 7


async def test_a_source_that_gives_no_bytes_is_a_defect_of_the_caller(
    transaction: TransactionManager, thing: Table
) -> None:
    source: Any = io.StringIO("code\na\n")
    with pytest.raises(TypeError, match="gave str"):
        await load(transaction, source, lambda staging: upsert(staging, thing), like=thing)


async def test_awkward_names_are_quoted(transaction: TransactionManager) -> None:
    conn = await transaction.connection()
    await conn.exec_driver_sql(
        'CREATE TABLE "Order; drop" ("select" int, "a""b, c: d" text NOT NULL, "x$1 %s" text)'
    )
    order = await conn.run_sync(lambda sync: Table("Order; drop", MetaData(), autoload_with=sync))
    source = io.BytesIO(b'"x$1 %s","a""b, c: d",select\n1,2,3\n')
    await load(
        transaction,
        source,
        lambda staging: insert(order).from_select(staging.c.keys(), staging.select()),
        like=order,
    )
    assert tuple((await transaction.execute(select(order))).one()) == (3, "2", "1")


async def test_the_same_load_runs_twice_in_one_transaction(
    transaction: TransactionManager, load_things: Load
) -> None:
    """The staging tables go with the transaction, and do not meet before."""
    await load_things(b"code\na\n")
    await load_things(b"code\nb\n")
    names = await transaction.fetch_all(
        text("SELECT relname FROM pg_class WHERE relname LIKE 'staging_%' AND relpersistence = 't'")
    )
    assert len(names) == 2


async def test_two_rows_of_one_key_are_an_error_of_the_file(
    load_things: Load, stored: Stored
) -> None:
    """They are not a defect of the service: nothing is loaded, and the transaction goes on."""
    with pytest.raises(BulkError, match="two rows have the same key"):
        await load_things(b"code,note\na,1\na,2\n")
    assert await stored("code") == []
