"""JSON Lines as COPY's text format, and rows keep their numbers."""

import json
import re
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import JSON, Column, Integer, MetaData, Table, Text

from dalkit.bulk import BulkError, copy_text, json_lines
from dalkit.bulk.copy_text import CopyText
from dalkit.bulk.json_lines import object_of, read_blocks, read_objects
from dalkit.bulk.plain_lines import MOST

from tests.bulk.things import in_pieces

TABLE = Table("t", MetaData(), *(Column(name, Text) for name in "abc"))
ESCAPES = {"\\n": "\n", "\\r": "\r", "\\t": "\t", "\\\\": "\\"}
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS
)
ROWS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"a": SCALARS, "b": SCALARS, "c": SCALARS}),
        st.dictionaries(st.sampled_from("abc"), SCALARS),
    ),
    min_size=1,
)


Values = list[str | None]


async def _copied(content: bytes, size: int, text: CopyText | None = None) -> list[Values]:
    """What COPY would read, whether plain lines are parsed or not."""
    objects = read_objects(in_pieces(content, size))
    lines = b"".join([piece async for piece in CopyText(TABLE).of_rows(objects)]).decode()
    blocks = read_blocks(in_pieces(content, size))
    assert lines.encode() == b"".join(
        [piece async for piece in (text or CopyText(TABLE)).of_json(blocks)]
    )
    *rows, rest = lines.split("\n")
    assert rest == ""
    return [[_value(value) for value in row.split("\t")] for row in rows]


def _value(copied: str) -> str | None:
    if copied == "\\N":
        return None
    return re.sub(r"\\.", lambda found: ESCAPES[found[0]], copied)


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


@given(ROWS, st.booleans(), st.sampled_from([(",", ":"), (", ", ": ")]), st.integers(1, 200))
async def test_rows_of_any_shape_come_out_in_order(
    rows: list[dict[str, Any]], ascii_only: bool, separators: tuple[str, str], size: int
) -> None:
    lines = [json.dumps(row, ensure_ascii=ascii_only, separators=separators) for row in rows]
    expected = [[_as_text(row.get(name)) for name in "abc"] for row in rows]
    assert await _copied("\n".join(lines).encode(), size) == expected


async def test_a_line_that_is_too_long_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "LIMIT", 30)
    with pytest.raises(BulkError, match="longer") as caught:
        await _copied(b'{"a": 1}\n\n{"a": 2}\n{"a": "' + b"x" * 60 + b'"}\n', 20)
    assert caught.value.row == 4


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_blank_lines_are_left_out(size: int) -> None:
    content = b'\n{"a": 1}\n  \r\n{"a": 2}\r\n\n'
    assert await _copied(content, size) == [["1", None, None], ["2", None, None]]


async def test_numbers_keep_every_digit() -> None:
    content = b'{"a": 0.12345678901234567890123, "b": -1e400, "c": 123456789012345678901234567890}'
    expected = ["0.12345678901234567890123", "-1e400", "123456789012345678901234567890"]
    assert await _copied(content, 1000) == [expected]
    digits = b"9" * 10_000
    assert await _copied(b'{"a": [' + digits + b"]}", 100) == [[f"[{digits.decode()}]", None, None]]


@pytest.mark.parametrize("size", [9, 1000])
async def test_rows_are_found_by_the_lines_of_the_text(size: int) -> None:
    """A blank line has no line there; a value with line breaks has one."""
    text = CopyText(TABLE)
    content = b'{"a": 1}\n\n\n{"a": "x\\ry\\nz"}\n{"a": 3}\n\n{"a": 4}'
    assert len(await _copied(content, size, text)) == 4
    assert [text.row_of(line) for line in range(1, 5)] == [1, 4, 5, 7]


async def test_only_the_last_rows_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """No row is told of what is long past, rather than a wrong one."""
    monkeypatch.setattr(copy_text, "PLACES", 1000)
    text = CopyText(TABLE)
    lines = b'{"a": 1}\n\n' * 1500
    assert len(await _copied(lines, 9, text)) == 1500
    assert [text.row_of(line) for line in (1, 400, 1000, 1500)] == [None, None, 1999, 2999]


KINDS = Table("t", MetaData(), Column("a", Integer), Column("é b", Text), Column("j", JSON))
ODD = [
    *(
        "-0",
        "-0.0",
        "0",
        "00",
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "1e5",
        "1E+05",
        "-1.50",
        "NaN",
        "9" * 30,
    ),
    *("true", "false", "null", "nul", "True", "{}", "[1]", "[]", '{"x": "y"}', ""),
    *(
        '""',
        '"null"',
        '"a b"',
        '"é\u2028\x7f"',
        '"\\\\N"',
        '"\\n"',
        '"\\u0000"',
        '"\\ud800"',
        '"\\/"',
    ),
    *('"\x01"', '"\t"', '"\r"', '"', '"x', 'x"', "'x'"),
]
KEYS = ['"a"', '"é b"', '"\\u00e9 b"', '"j"', '"A"', '"zz"', "a"]
MEMBERS = st.tuples(
    st.sampled_from(KEYS), st.sampled_from([":", ": ", " : "]), st.sampled_from(ODD)
)
LINES = st.one_of(
    st.sampled_from(["", " ", "{}", "[]", "{", "\r", '{"a": 1} x', '{"a": 1}}', "\ufeff"]),
    st.tuples(
        st.sampled_from(["{", " {", "{ "]),
        st.sampled_from([",", ", ", " ,"]),
        st.lists(MEMBERS, max_size=4, unique_by=lambda member: member[0]),
        st.sampled_from(["}", "} ", "}\r", ""]),
    ).map(lambda it: it[0] + it[1].join(map("".join, it[2])) + it[3]),
)
PLAIN = st.builds(
    lambda a, b, j: f'{{"a": {a}, "é b": {b}, "j": {j}}}',
    st.sampled_from(ODD),
    st.sampled_from(ODD),
    st.sampled_from(ODD),
)


async def _outcome(pieces: AsyncIterator[bytes]) -> tuple[bytes, str]:
    """The text, and the error that ended it."""
    copied = b""
    try:
        async for piece in pieces:
            copied += piece
    except BulkError as error:
        return b"", str(error)
    return copied, ""


@given(st.lists(st.one_of(LINES, PLAIN), min_size=1, max_size=8), st.booleans(), st.integers(1, 99))
@settings(max_examples=400)
async def test_a_line_is_the_same_whether_it_is_parsed_or_not(
    lines: list[str], spoilt: bool, size: int
) -> None:
    """Of plain lines, of odd ones and of what is no JSON, and so are the errors."""
    good = '{"a": 1, "é b": "x", "j": "y"}\n{"j":2,"a":null}\n'
    content = (good + "\n".join(lines)).encode(errors="surrogatepass")
    if spoilt:
        content += b'\n{"a": 1, "\xc3\xa9 b": "\xff", "j": "y"}'
    parsed = await _outcome(CopyText(KINDS).of_rows(read_objects(in_pieces(content, size))))
    assert await _outcome(CopyText(KINDS).of_json(read_blocks(in_pieces(content, size)))) == parsed


@pytest.mark.parametrize("key", ['"a"', '"é b"', '"j"'])
async def test_a_value_is_the_same_whether_its_line_is_parsed_or_not(key: str) -> None:
    """After lines that have a number and a text there."""
    codes = [f'"{chr(code)}"' for code in (*range(0x23), 0x5C, 0x7F, 0x80, 0x9F, 0x1F600)]
    for odd in (*ODD, *codes):
        content = f'{{{key}: 1}}\n{{{key}: "x"}}\n{{{key}: {odd}}}\n{{{key}:{odd}}}'.encode()
        parsed = await _outcome(CopyText(KINDS).of_rows(read_objects(in_pieces(content, 99))))
        got = await _outcome(CopyText(KINDS).of_json(read_blocks(in_pieces(content, 99))))
        assert got == parsed, odd


async def test_most_lines_of_an_ordinary_file_are_not_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor are those of files in which keys are left out where a value is missing."""
    parsed: list[bytes] = []

    def counted(line: bytes, row: int) -> dict[str, Any] | None:
        parsed.append(line)
        return object_of(line, row)

    monkeypatch.setattr("dalkit.bulk.copy_text.object_of", counted)
    rows = [{"a": n, "b": "x" * n, "c": None if n % 2 else n / 4} for n in range(100)]
    rows += [{"c": "y", "a": True} for _ in range(100)]
    content = "\n".join(json.dumps(row) for row in rows).encode()
    await _copied(content, 1000)
    assert len(parsed) <= 4


async def test_a_file_of_ever_new_shapes_is_parsed() -> None:
    """Expressions are made for some shapes only."""
    names = [f"c{n}" for n in range(40)]
    text = CopyText(Table("t", MetaData(), *(Column(name, Text) for name in names)))
    content = "\n".join(f'{{"{a}":1,"{b}":2}}' for a, b in pairwise(names)).encode()
    copied = b"".join([piece async for piece in text.of_json(read_blocks(in_pieces(content, 99)))])
    assert copied.count(b"\n") == 39
    assert len(text._plain._shapes) == MOST
