"""One encoder writes json columns and responses."""

import enum
import json
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest
from asyncpg.pgproto import pgproto
from fastapi import FastAPI
from pydantic import BaseModel, JsonValue
from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB

from dalkit import TransactionManager
from dalkit.data.engine import dumps, loads
from dalkit.web.problems import EncodedResponse

ID = "0193e1ce-5b0a-7c1e-8d2a-0123456789ab"


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


@dataclass
class Point:
    x: int
    at: date


class Price(BaseModel):
    amount: Decimal


class Measure(BaseModel):
    value: float


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 678901, UTC), "2026-01-02T03:04:05.678901Z"),
        (
            datetime(2026, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            "2026-01-02T03:04:00+05:30",
        ),
        (datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00"),  # noqa: DTZ001
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4, 5, tzinfo=UTC), "03:04:05Z"),
        (timedelta(days=1, seconds=90), "P1DT1M30S"),
        (UUID(ID), ID),
        (pgproto.UUID(ID), ID),
        (Decimal("10.50"), "10.50"),
        (Colour.RED, "red"),
        ({Colour.RED: 1, Colour.BLUE: Colour.BLUE}, {"red": 1, "2": 2}),
        ({UUID(ID): 1, date(2026, 1, 2): 2}, {ID: 1, "2026-01-02": 2}),
        ({1}, [1]),
        (frozenset({1}), [1]),
        ((1, None, True), [1, None, True]),
        (Point(1, date(2026, 1, 2)), {"x": 1, "at": "2026-01-02"}),
        (Price(amount=Decimal("1.10")), {"amount": "1.10"}),
        ({"a": [math.nan, math.inf, -math.inf, 1.5]}, {"a": [None, None, None, 1.5]}),
        (2**80, 2**80),
        ('\u00e9\u2028\U0001f40d"\\', '\u00e9\u2028\U0001f40d"\\'),
    ],
)
def test_a_value_becomes_json(value: Any, expected: Any) -> None:
    assert json.loads(dumps(value)) == expected
    assert json.loads(bytes(EncodedResponse(value).body)) == expected


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(ValueError, match="object"):
        dumps(object())


async def test_a_json_column_keeps_time_and_zone(transaction: TransactionManager) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, timezone(timedelta(hours=2)))
    value = {Colour.RED: at, "not a number": math.nan}
    stored = await transaction.fetch_value(select(bindparam("v", value, type_=JSONB)))
    assert stored == {"red": "2026-01-02T03:04:05.678901+02:00", "not a number": None}
    assert datetime.fromisoformat(stored["red"]) == at


async def test_a_nan_from_the_database_is_null_in_a_response(
    transaction: TransactionManager,
) -> None:
    app = FastAPI()

    @app.get("/model")
    async def model() -> list[Measure]:
        rows = await transaction.execute(
            text("SELECT unnest('{NaN,Infinity,-Infinity}'::float8[]) AS value")
        )
        return [Measure.model_validate(row, from_attributes=True) for row in rows]

    @app.get("/dict")
    async def untyped() -> dict[str, Any]:
        return {"value": await transaction.fetch_value(text("SELECT 'NaN'::float4"))}

    @app.get("/numeric")
    async def numeric() -> Any:
        return EncodedResponse(await transaction.fetch_value(text("SELECT 'NaN'::numeric")))

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        assert (await client.get("/model")).json() == [{"value": None}] * 3
        assert (await client.get("/dict")).json() == {"value": None}
        assert (await client.get("/numeric")).json() == "NaN"


def test_loads_reads_what_dumps_writes() -> None:
    assert loads(dumps({"a": [1, 2.5, None]})) == {"a": [1, 2.5, None]}


async def test_a_number_that_python_does_not_read_is_infinite_and_null_in_a_response(
    transaction: TransactionManager,
) -> None:
    """PostgreSQL takes more digits, from COPY or from SQL by hand."""
    app = FastAPI()

    @app.get("/")
    async def read() -> dict[str, JsonValue]:
        written = "'[1e99, -' || repeat('9', 5000) || ', 1e5000]'"
        return {"value": await transaction.fetch_value(text(f"SELECT ({written})::jsonb"))}

    assert loads(f'{{"a": {"9" * 5000}, "b": 7}}') == {"a": math.inf, "b": 7}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        assert (await client.get("/")).json() == {"value": [10**99, None, None]}


def test_no_json_is_an_error() -> None:
    with pytest.raises(json.JSONDecodeError):
        loads("[1")
