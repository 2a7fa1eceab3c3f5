"""What a statement returns, as JSON Lines: the objects that row_to_json makes."""

import io
import json
from typing import Any

from sqlalchemy import Executable, Table, literal_column, select, text

from dalkit import TransactionManager
from dalkit.bulk import JSON_LINES, export

VALUES = [
    "NULL::text",
    "'it''s \"q\" \\ ' || E'\\n\\t\\x02\\x7f é'",
    "'null'::text",
    "''::varchar",
    "'a'::char(3)",
    "'null'::jsonb",
    "'\"x\"'::jsonb",
    "E'[1,\\n\\r2]'::json",
    "ARRAY[E'{\\n}'::json]",
    "ARRAY['null', NULL, E'a\\n']::text[]",
    "ROW(1, 'x')",
    "1::smallint",
    "-9223372036854775808",
    "'NaN'::float8",
    "'-Infinity'::float4",
    "0.1::float4",
    "1e300::float8",
    "12345678901234567890.10::numeric",
    "'NaN'::numeric",
    "true",
    "NULL::boolean",
    "'93a63e38-2449-4cbd-bccb-702a291cec8a'::uuid",
    "NULL::uuid",
    "date '2026-01-31'",
    "'infinity'::date",
    "timestamp '2026-01-31 10:00'",
    "timestamptz '0044-03-15 10:00:00.000001+02 BC'",
    "time '10:00'",
    "interval '1 day'",
    "'\\x00ff'::bytea",
    "int4range(1, 3)",
    "1::oid",
    "1::information_schema.cardinal_number",
]


async def _exported(transaction: TransactionManager, statement: Executable) -> str:
    target = io.BytesIO()
    await export(transaction, statement, target, file_format=JSON_LINES)
    return target.getvalue().decode()


def _escaped(sql: str) -> str:
    """The SQL for text(), which takes a colon for the beginning of a parameter."""
    return sql.replace(":", r"\:")


async def test_json_is_what_row_to_json_makes(transaction: TransactionManager) -> None:
    """For a value of every kind, also when all of them are NULL, and whatever the names are."""
    names = [f'"{name}"' for name in ("?", 'q""', "b\\c", "it's", "a b", "é", "x:y")]
    listed = ", ".join(
        f"{value} AS {names[place] if place < len(names) else f'c{place}'}"
        for place, value in enumerate(VALUES)
    )
    sql = f"SELECT {listed}"
    whole = f"SELECT row_to_json(r)::text FROM ({sql}) AS r"
    expected = await transaction.fetch_value(text(_escaped(whole)))
    got = await _exported(transaction, text(_escaped(sql)))
    assert got.endswith("}\n")
    assert got.count("\n") == 1
    assert json.loads(got) == json.loads(expected)
    assert list(json.loads(got)) == list(json.loads(expected))


async def test_rows_of_no_and_of_very_many_columns_are_exported(
    transaction: TransactionManager,
) -> None:
    assert await _exported(transaction, text("SELECT")) == "{}\n"
    wide: Any = select(*(literal_column(str(n)).label(f"c{n}") for n in range(900)))
    line = json.loads(await _exported(transaction, wide))
    assert line == {f"c{n}": n for n in range(900)}


async def test_a_type_is_not_known_by_its_name_alone(transaction: TransactionManager) -> None:
    await transaction.execute(text("CREATE TYPE public.int4 AS ENUM ('a\"b')"))
    line = await _exported(transaction, text("SELECT CAST('a\"b' AS public.int4) AS v"))
    assert json.loads(line) == {"v": 'a"b'}


async def test_columns_of_one_name_are_exported(transaction: TransactionManager) -> None:
    line = await _exported(transaction, text("SELECT 1 AS a, 2 AS a"))
    assert line == '{"a":1,"a":2}\n'


async def test_json_columns_cannot_break_a_line(
    transaction: TransactionManager, thing: Table
) -> None:
    """A column of type json keeps the line breaks it was written with."""
    await transaction.execute(text("INSERT INTO thing (code, raw) VALUES ('a', E'{\n\r\"b\": 1}')"))
    content = await _exported(transaction, select(thing.c.raw))
    assert [json.loads(line) for line in content.splitlines()] == [{"raw": {"b": 1}}]
