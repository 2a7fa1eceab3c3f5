"""JSON Lines as CSV: the fast way and the careful one agree, and rows keep their numbers."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalkit.bulk import BulkError, json_lines
from dalkit.bulk.csv_values import Kind
from dalkit.bulk.json_lines import JsonRows
from dalkit.bulk.json_shape import Shape
from dalkit.bulk.positions import Positions

from tests.db.bulk.things import in_pieces

KINDS: dict[str, Kind] = {"a": "plain", "b": "plain", "c": "plain"}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
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


async def _csv(content: bytes, size: int) -> list[list[str]]:
    rows = JsonRows(KINDS)
    text = b"".join([piece async for piece in rows.csv(in_pieces(content, size))]).decode()
    lines = io.StringIO(text, newline="")
    return list(csv.reader(lines, lineterminator="\r", escapechar="\\", doublequote=False))


def _as_csv(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


@given(ROWS, st.booleans(), st.sampled_from([(",", ":"), (", ", ": ")]), st.integers(1, 200))
async def test_rows_of_any_shape_come_out_in_order(
    rows: list[dict[str, Any]], ascii_only: bool, separators: tuple[str, str], size: int
) -> None:
    lines = [json.dumps(row, ensure_ascii=ascii_only, separators=separators) for row in rows]
    expected = [[_as_csv(row.get(name)) for name in "abc"] for row in rows]
    assert await _csv("\n".join(lines).encode(), size) == expected


QUICK = {
    "compact": (b'{"a":1,"b":"x"}', [b'1,"x",']),
    "spaced": (b'{"a": 1, "b": "x"}', [b'1,"x",']),
    "null, true, false": (b'{"a":null,"b":true}\n{"a":false,"b":null}', [b",true,", b"false,,"]),
    "quotes and backslashes": (b'{"a":"\\"x\\\\","b":"n"}', [b'"\\"x\\\\","n",']),
    "other escapes": (
        b'{"a":"1","b":"x\\n\\t\\u00e9\\ud83e\\udd84\\/"}\n{"a":"\\\\\\n\\"","b":2}',
        ['"1","x\n\té\U0001f984/",'.encode(), b'"\\\\\n\\"",2,'],
    ),
    "line ends of Windows": (b'{"a":"1","b":2}\r\n{"a":3,"b":""}\r', [b'"1",2,', b'3,"",']),
}


@pytest.mark.parametrize(("lines", "rows"), QUICK.values(), ids=QUICK)
def test_lines_of_one_shape_are_translated_at_once(lines: bytes, rows: list[bytes]) -> None:
    assert Shape(("a", "b"), KINDS).rows(lines) == rows


CAREFUL = {
    "another key": b'{"a":1,"b":2}\n{"a":1,"c":2}',
    "nested value": b'{"a":[1],"b":2}',
    "odd white space": b'{"a" :1,"b":2}',
    "leading zero": b'{"a":01,"b":2}',
    "string over two lines": b'{"a":"x\n{","b":1}\n{"a":"y","b":2}',
    "control character": b'{"a":"x\x1f","b":1}',
    "NUL": b'{"a":"x\\u0000","b":"\\n"}',
    "lone surrogate": b'{"a":"\\ud83e","b":1}',
    "unknown escape": b'{"a":"\\x","b":1}',
}


@pytest.mark.parametrize("lines", CAREFUL.values(), ids=CAREFUL)
def test_other_lines_are_left_to_a_closer_look(lines: bytes) -> None:
    assert Shape(("a", "b"), KINDS).rows(lines) is None


def test_a_key_with_a_backslash_is_no_reason_for_a_closer_look() -> None:
    shape = Shape(("a\\n", "b"), {"a\\n": "plain", "b": "plain"})
    assert shape.rows(b'{"a\\\\n":1,"b":"x"}') == [b'1,"x"']


async def test_a_line_that_is_too_long_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "LIMIT", 30)
    with pytest.raises(BulkError, match="longer") as caught:
        await _csv(b'{"a": 1}\n\n{"a": 2}\n{"a": "' + b"x" * 60 + b'"}\n', 20)
    assert caught.value.row == 4


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_blank_lines_are_left_out(size: int) -> None:
    content = b'\n{"a": 1}\n  \r\n{"a": 2}\r\n\n'
    assert await _csv(content, size) == [["1", "", ""], ["2", "", ""]]


async def test_numbers_keep_every_digit() -> None:
    content = b'{"a": 0.12345678901234567890123, "b": -1e400, "c": 123456789012345678901234567890}'
    expected = ["0.12345678901234567890123", "-1e400", "123456789012345678901234567890"]
    assert await _csv(content, 1000) == [expected]
    digits = b"9" * 10_000
    assert await _csv(b'{"a": [' + digits + b"]}", 100) == [[f"[{digits.decode()}]", "", ""]]


async def test_rows_are_found_by_the_lines_of_the_translation() -> None:
    r"""A blank line has no line there, a value with \r has two."""
    rows = JsonRows(KINDS)
    content = b'{"a": 1}\n\n\n{"a": "x\\ry\\rz"}\n{"a": 3}\n\n{"a": 4}'
    text = b"".join([piece async for piece in rows.csv(in_pieces(content, 9))])
    assert text.count(b"\r") == 6
    assert [rows.positions.row_of(line) for line in range(1, 7)] == [1, 4, 4, 4, 5, 7]


def test_positions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limit no row is told, rather than a wrong one."""
    monkeypatch.setattr(Positions, "LIMIT", 3)
    positions = Positions()
    for _ in range(5):
        positions.advance(1, breaks=1)
    assert [positions.row_of(line) for line in (1, 3, 4, 9)] == [1, 2, 2, None]
