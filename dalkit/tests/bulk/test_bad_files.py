"""What is wrong with a file is told with its row and column, and nothing of it is kept."""

import io
from typing import Any

import pytest
from sqlalchemy import CheckConstraint, Column, String, Table, func, insert, select

from dalkit import TransactionManager
from dalkit.bulk import CSV, JSON_LINES, BulkError, Csv, load

from tests.bulk.conftest import Load, Stored

BAD_CSV = {
    "empty": (b"", None, None, "empty"),
    "only line breaks": (b"\n\n", None, None, "empty"),
    "unknown column": (b"code,nope\na,b\n", 1, "nope", "no such column"),
    "column twice": (b"code,code\na,b\n", 1, "code", "twice"),
    "column missing": (b"note\na\n", 1, "code", "lacks"),
    "header not UTF-8": (b"c\xff\na\n", 1, None, "not UTF-8"),
    "header not closed": (b'"code\na\n', 1, None, "cannot be read"),
    "header too long": (b"c" * 70_000 + b"\na\n", 1, None, "longer"),
    "no number": (b"code,price\na,1\nb,x\n", 3, "price", "type"),
    "number too large": (b"code,price\na,1e9\n", 2, "price", "range"),
    "no date": (b"code,at\na,yesterdayish\n", 2, "at", "date"),
    "date out of range": (b"code,at\na,2026-02-30\n", 2, "at", "range"),
    "no JSON": (b'code,data\na,"{""x"": 1\n}"\nb,{\n', 4, "data", "type"),
    "no array": (b"code,tags\na,b\n", 2, "tags", "type"),
    "required value missing": (b"code,note\na,\n,b\n", 3, "code", "required"),
    "rule of the database": (b"code,price\na,-1\n", 2, "price", "rule"),
    "too few values": (b"code,note\na,b\nc\n", 3, None, "fewer"),
    "too many values": (b"code,note\na,b,c\n", 2, None, "more"),
    "quote not closed": (b'code\n"a\n', 3, None, "not closed"),
    "mixed line ends": (b"code\na\r\nb\n", 2, None, "ends differently"),
    "NUL": (b"code\na\0b\n", 2, None, "NUL"),
    "not UTF-8": (b"code\na\nb\xff\n", 3, None, "UTF-8"),
}
BAD_JSON = {
    "no JSON": (b'{"code": "a"}\n{"code": b}\n', 2, None, "Expecting value"),
    "not closed": (b'{"code": "a"', 1, None, "'}' is missing"),
    "comma too many": (b'{"code": "a",}\n', 1, None, "a key in double quotes"),
    "text after it": (b'{"code": "a"} x\n', 1, None, "text after"),
    "no object": (b"[1]\n", 1, None, "'{' is missing"),
    "key without quotes": (b"{code: 1}\n", 1, None, "a key in double quotes"),
    "key that is a number": (b"{1: 1}\n", 1, None, "a key in double quotes"),
    "leading zero": (b'{"code": 1}\n{"code": 007}\n', 2, None, "missing"),
    "NaN": (b'{"code": "a"}\n{"code": "b", "price": NaN}\n', 2, None, "NaN"),
    "control character": (b'{"code": "a"}\n{"code": "b\tc"}\n', 2, None, "control character"),
    "bad escape": (b'{"code": "a"}\n{"code": "\\x"}\n', 2, None, "escape"),
    "nested deeply": (b'{"data": ' + b"[" * 100_000, 1, None, "deeply"),
    "nested more deeply than can be answered": (
        b'{"code": "a", "data": %b}' % (b"[" * 500 + b"]" * 500),
        1,
        None,
        "it is nested too deeply",
    ),
    "objects nested deeply": (b'{"data": ' + b'{"a":' * 200 + b"1" + b"}" * 201, 1, None, "deeply"),
    "unknown key": (b'{"code": "a"}\n{"code": "b", "nope": 1}\n', 2, "nope", "no such column"),
    "key twice": (b'{"code": "a", "code": "b"}\n', 1, "code", "twice"),
    "required key missing": (b'{"code": "a"}\n\n{"note": "b"}\n', 3, "code", "required"),
    "no number": (b'{"code": "a\\r\\nb"}\n\n{"code": "c", "price": "x"}', 3, "price", "type"),
    "object in an array": (b'{"code": "a", "tags": [{}]}\n', 1, "tags", "array"),
    "rule of the database": (b'{"code": "a", "price": -1}\n', 1, "price", "rule"),
    "escaped NUL": (b'{"code": "a"}\n{"code": "\\u0000"}\n', 2, "code", "NUL"),
    "lone surrogate": (b'{"code": "a"}\n{"code": "\\ud800"}\n', 2, "code", "UTF-8"),
    "not UTF-8": (b'{"code": "a"}\n{"code": "\xff"}\n', 2, None, "UTF-8"),
    "too long": (b'{"code": "a"}\n{"code": "' + b"a" * (16 * 1024 * 1024), 2, None, "longer"),
}


def _cases() -> list[Any]:
    csv = [pytest.param(CSV, *case, id=f"csv: {name}") for name, case in BAD_CSV.items()]
    json = [pytest.param(JSON_LINES, *case, id=f"json: {name}") for name, case in BAD_JSON.items()]
    return csv + json


@pytest.mark.parametrize(("file_format", "content", "row", "column", "reason"), _cases())
async def test_a_bad_file_is_refused_whole(
    load_things: Load,
    stored: Stored,
    file_format: Any,
    content: bytes,
    row: int | None,
    column: str | None,
    reason: str,
) -> None:
    """Its row and column are named, and the caller's transaction can go on."""
    with pytest.raises(BulkError, match=reason) as caught:
        await load_things(content, file_format=file_format)
    assert (caught.value.row, caught.value.column) == (row, column)
    assert await stored("code") == []


@pytest.mark.parametrize(
    ("content", "file_format"),
    [(b"code,price\na,s3cret\n", CSV), (b'{"code": "a", "price": "s3cret"}', JSON_LINES)],
)
async def test_the_message_shows_no_value_and_nothing_of_the_driver(
    load_things: Load, content: bytes, file_format: Any
) -> None:
    with pytest.raises(BulkError) as caught:
        await load_things(content, file_format=file_format)
    error: BaseException | None = caught.value
    assert "s3cret" not in str(error)
    assert "syntax" not in str(error)
    assert error is not None
    assert error.__suppress_context__


async def test_a_value_cannot_pretend_to_be_in_another_row(load_things: Load) -> None:
    """PostgreSQL's CONTEXT quotes the value, on a line of its own if it likes."""
    forged = b'"x\nCOPY staging_0123456789abcdef, line 99, column note: ""y"""'
    with pytest.raises(BulkError) as caught:
        await load_things(b"code,price\na," + forged + b"\n")
    assert (caught.value.row, caught.value.column) == (3, "price")


async def test_the_column_is_found_whatever_its_name(transaction: TransactionManager) -> None:
    columns = [Column("a", String(9)), Column("a: b", String(1)), Column("a: b, c", String(2))]
    with pytest.raises(BulkError) as caught:
        await load(transaction, io.BytesIO(b'"a: b, c"\nxxx\n'), _nowhere, columns=columns)
    assert caught.value.column == "a: b, c"


async def test_rules_of_the_given_columns_hold(transaction: TransactionManager) -> None:
    columns = [Column("name", String(3), CheckConstraint("name <> ''"), nullable=False)]
    for content, reason in ((b"name\nabcd\n", "too long"), (b'name\n""\n', "rule")):
        with pytest.raises(BulkError, match=reason) as caught:
            await load(transaction, io.BytesIO(content), _nowhere, columns=columns)
        assert caught.value.row == 2


async def test_a_rule_may_say_what_it_wants(transaction: TransactionManager) -> None:
    rule = CheckConstraint("size IN ('S', 'L')", info={"reason": "use S or L"})
    columns = [Column("size", String(9), rule), Column("name", String(1), CheckConstraint("true"))]
    with pytest.raises(BulkError, match=r"^row 3, column 'size': use S or L$"):
        await load(transaction, io.BytesIO(b"size,name\nS,a\nM,a\n"), _nowhere, columns=columns)
    with pytest.raises(BulkError, match="too long"):
        await load(transaction, io.BytesIO(b"size\n" + b"S" * 10), _nowhere, columns=columns)


async def test_an_error_of_the_move_undoes_the_load_only(
    transaction: TransactionManager, thing: Table, load_things: Load, stored: Stored
) -> None:
    await load_things(b"code\na\n")
    with pytest.raises(LookupError):
        await load_things(b"code\nb\n", after_copy=_fail)
    assert await stored("code") == ["a"]
    await transaction.execute(insert(thing).values(code="c"))
    assert await stored("code") == ["a", "c"]


async def test_an_unknown_name_is_the_callers_mistake(load_things: Load) -> None:
    with pytest.raises(LookupError, match="No column 'cod' in thing"):
        await load_things(b"code\na\n", names=["cod"])


@pytest.mark.parametrize(
    "options", [{"delimiter": "ab"}, {"quote": "é"}, {"delimiter": "\n"}, {"quote": ","}]
)
def test_an_impossible_dialect_is_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        Csv(**options)


def _nowhere(staging: Table) -> Any:
    return select(func.count()).select_from(staging)


async def _fail(transaction: TransactionManager, staging: Table) -> None:
    raise LookupError
