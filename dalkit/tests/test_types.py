"""Types for input: what PostgreSQL could not store is refused."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import MISSING, Field, TypeAdapter, ValidationError

from dalkit.types import Body, Date, Digits, Filter, Float, Id, Int16, Int32, Int64, Text, Timestamp

Price = Annotated[Decimal, Digits(10, 2), Field(ge=0)]
FilterInt32 = Filter[Int32]
LAST = datetime(9999, 12, 31, 23, 59, 59, 999998, tzinfo=UTC)
TYPES: dict[str, Any] = {
    "Int16": Int16,
    "Int32": Int32,
    "Int64": Int64,
    "Float": Float,
    "Text": Text,
    "Short": Annotated[Text, Field(max_length=2)],
    "Date": Date,
    "Timestamp": Timestamp,
    "Price": Price,
    "Filter": FilterInt32,
    "Id": Id,
}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("Int16", 2**15 - 1, 2**15 - 1),
        ("Int64", "-9223372036854775808", -(2**63)),
        ("Float", "1e308", 1e308),
        ("Text", "ü\n", "ü\n"),
        ("Short", "ab", "ab"),
        ("Date", "2000-02-29", date(2000, 2, 29)),
        ("Date", date(2000, 2, 29), date(2000, 2, 29)),
        ("Date", "9999-12-30", date(9999, 12, 30)),
        ("Timestamp", "2000-01-01T01:00:00+01:00", datetime(2000, 1, 1, tzinfo=UTC)),
        ("Timestamp", "9999-12-31T23:59:59.999998Z", LAST),
        ("Price", "12345678.12", Decimal("12345678.12")),
        ("Price", 1.1, Decimal("1.1")),
        ("Price", 0, Decimal(0)),
        ("Filter", None, None),
        ("Id", "9223372036854775807", 2**63 - 1),
        ("Id", "0", 0),
    ],
)
def test_values_that_fit(name: str, value: object, expected: object) -> None:
    assert TypeAdapter(TYPES[name]).validate_python(value) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Int16", 2**15),
        ("Int32", -(2**31) - 1),
        ("Int64", 2**63),
        ("Float", "NaN"),
        ("Float", float("inf")),
        ("Text", "a\0b"),
        ("Text", "\ud800"),
        ("Date", "0"),
        ("Date", 1.5),
        ("Date", "10000-01-01"),
        ("Date", "0001-01-01"),
        ("Date", date.max),
        ("Timestamp", "1e3"),
        ("Timestamp", "2000-01-01T00:00:00"),
        ("Timestamp", "0001-01-01T00:00:00+14:00"),
        ("Timestamp", "0001-01-01T00:00:00Z"),
        ("Timestamp", "9999-12-31T22:59:59.999999-01:00"),
        ("Price", "NaN"),
        ("Price", "Infinity"),
        ("Price", "1.234"),
        ("Price", "123456789"),
        ("Price", 1e300),
        ("Price", -1),
        ("Price", True),
        ("Id", "9223372036854775808"),
        ("Id", "9" * 5_000),
        ("Id", "-1"),
        ("Id", "+1"),
        ("Id", "1.0"),
        ("Id", "1_0"),
        ("Id", " 1"),
        ("Id", "\uff11"),
        ("Id", "1\0"),
        ("Id", "\ud800"),
        ("Id", ""),
    ],
)
def test_values_that_do_not_fit(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(TYPES[name]).validate_python(value)


def test_schemas_say_what_is_accepted() -> None:
    schema = TypeAdapter(Price).json_schema()
    number, text = schema["anyOf"]
    assert number == {"type": "number", "minimum": 0, "maximum": 10**8 - 1, "multipleOf": 0.01}
    assert text["pattern"] == r"^\d{1,8}(\.\d{1,2})?$"
    assert TypeAdapter(Price).json_schema(mode="serialization")["type"] == "string"
    assert TypeAdapter(Annotated[Text, Field(min_length=1)]).json_schema() == {
        "type": "string",
        "minLength": 1,
        "pattern": r"^[^\x00]*$",
    }
    assert TypeAdapter(Filter[Int16]).json_schema() == {
        "type": "integer",
        "minimum": -(2**15),
        "maximum": 2**15 - 1,
    }


class NotePatch(Body):
    """A field that may not be null, and one that may."""

    title: Annotated[Text, Field(max_length=3)] | MISSING = MISSING
    price: Price | MISSING | None = MISSING


def test_what_a_body_leaves_out_is_missing_and_not_null() -> None:
    assert NotePatch().model_dump() == {}
    assert NotePatch(price=None).model_dump() == {"price": None}
    for body, loc in ({"title": None}, ("title",)), ({"colour": "red"}, ("colour",)):
        with pytest.raises(ValidationError) as refused:
            NotePatch.model_validate(body)
        assert [error["loc"] for error in refused.value.errors()] == [loc]
    schema = NotePatch.model_json_schema()
    assert schema["additionalProperties"] is False
    assert "required" not in schema
    assert schema["properties"]["title"] == {
        "maxLength": 3,
        "pattern": r"^[^\x00]*$",
        "title": "Title",
        "type": "string",
    }
