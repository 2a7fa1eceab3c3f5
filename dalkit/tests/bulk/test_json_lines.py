"""JSON Lines as COPY's text format, and rows keep their numbers."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, MetaData, Table, Text

from dalkit.bulk import BulkError, copy_text, json_lines
from dalkit.bulk.copy_text import CopyText
from dalkit.bulk.json_lines import read_objects

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
    """What COPY would read."""
    objects = read_objects(in_pieces(content, size))
    pieces = [piece async for piece in (text or CopyText(TABLE)).text(objects)]
    lines = b"".join(pieces).decode().split("\n")
    assert lines.pop() == ""
    return [[_value(value) for value in line.split("\t")] for line in lines]


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
