"""Types for input: what PostgreSQL could not store is refused."""

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Interface, IPv4Network
from typing import Annotated, Any

import pytest
import sqlalchemy as sa
from pydantic import MISSING, Field, TypeAdapter, ValidationError

from dalkit import ReadEntity, TransactionManager
from dalkit.types import (
    Body,
    Bytes,
    Cidr,
    Circle,
    Composite,
    Date,
    Digits,
    Duration,
    Filter,
    Float,
    Id,
    Inet,
    Int16,
    Int32,
    Int64,
    JsonData,
    JsonFloat,
    JsonInt16,
    JsonInt32,
    LocalTimestamp,
    Point,
    Points,
    RangeOf,
    Text,
    TextId,
    Time,
    Timestamp,
)

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
    "JsonInt16": JsonInt16,
    "JsonInt32": JsonInt32,
    "JsonFloat": JsonFloat,
    "JsonData": JsonData,
    "TextId": TextId,
    "Bytes": Bytes,
    "Time": Time,
    "LocalTimestamp": LocalTimestamp,
    "Duration": Duration,
    "Inet": Inet,
    "Cidr": Cidr,
    "Point": Point,
    "Points": Points,
    "Range": RangeOf[int],
    "Share": Annotated[Decimal, Digits(3, 3)],
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
        ("JsonInt16", 2**15 - 1, 2**15 - 1),
        ("JsonFloat", 1, 1.0),
        ("JsonData", {"a": [1, "b", None, True]}, {"a": [1, "b", None, True]}),
        ("JsonData", json.loads("[" * 200 + "]" * 200), json.loads("[" * 200 + "]" * 200)),
        ("TextId", "a b", "a b"),
        ("Bytes", "AP8=", b"\x00\xff"),
        ("Bytes", b"\xff", b"\xff"),
        ("Time", "08:30:00", time(8, 30)),
        ("LocalTimestamp", "2000-01-01T01:00:00", datetime(2000, 1, 1, 1)),  # noqa: DTZ001
        ("LocalTimestamp", datetime.max, datetime.max),  # noqa: DTZ901 - it is stored, so
        ("Duration", "P1DT12H", timedelta(days=1, hours=12)),
        ("Inet", "192.0.2.1/24", IPv4Interface("192.0.2.1/24")),
        ("Cidr", "192.0.2.0/24", IPv4Network("192.0.2.0/24")),
        ("Point", [1, 2.5], (1.0, 2.5)),
        ("Points", [[0, 0], [1, 2]], [(0.0, 0.0), (1.0, 2.0)]),
        ("Share", "0.125", Decimal("0.125")),
    ],
)
def test_values_that_fit(name: str, value: object, expected: object) -> None:
    assert TypeAdapter(TYPES[name]).validate_python(value) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JsonInt16", 2**15),
        ("JsonInt32", "1"),
        ("JsonInt32", True),
        ("JsonFloat", "1.5"),
        ("JsonFloat", float("nan")),
        ("JsonData", {"a": "\0"}),
        ("JsonData", [{"\ud800": 1}]),
        ("JsonData", [float("inf")]),
        ("JsonData", json.loads("[" * 201 + "]" * 201)),
        ("JsonData", json.loads('{"a":' * 201 + "1" + "}" * 201)),
        ("TextId", "a/b"),
        ("TextId", ""),
        ("Bytes", "AP8"),
        ("Bytes", "ü==="),
        ("Time", 30),
        ("Time", "08:30:00Z"),
        ("LocalTimestamp", "2000-01-01T00:00:00Z"),
        ("LocalTimestamp", "9999-12-31T23:59:59.999999"),
        ("Duration", 60),
        ("Inet", False),
        ("Cidr", "192.0.2.1/24"),
        ("Point", [1, False]),
        ("Range", {"lower": 1, "empty": 0}),
        ("Range", {"lower": 1, "to": 2}),
        ("Share", "1.125"),
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


class Place(Composite):
    name: Text | None
    at: Point | None
    open: RangeOf[date] | None


class NewVisit(Body):
    places: list[Place]
    around: Circle
    shapes: Points
    nights: list[RangeOf[int]]


async def test_values_of_composite_types_go_to_the_database_and_back(
    transaction: TransactionManager,
) -> None:
    """Composite types, ranges and shapes, through an entity, as objects in JSON."""
    table = "id int, places place[], around circle, shapes polygon, nights int4multirange"
    for statement in (
        "CREATE TYPE place AS (name text, at point, open daterange)",
        "CREATE TYPE float_range AS RANGE (subtype = float8)",
        f"CREATE TABLE visited ({table})",
    ):
        await transaction.execute(sa.text(statement))
    sent = {
        "places": [
            {
                "name": "x",
                "at": [1.0, 2.0],
                "open": {"lower": "2026-01-01", "upper": None, "bounds": "[)", "empty": False},
            }
        ],
        "around": {"center": [1.0, 2.0], "radius": 3.0},
        "shapes": [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]],
        "nights": [{"lower": 1, "upper": 3, "bounds": "[)", "empty": False}],
    }
    values = NewVisit.model_validate(sent).model_dump()
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in ("id", *values)]
    new = sa.insert(sa.table("visited", *columns)).values(id=1, **values)
    await transaction.execute(new)
    sql = "SELECT *, '[1.5,2)'::float_range AS floats, 'empty'::int4range AS none FROM visited"
    found = Visit.model_validate(await transaction.fetch_one(sa.text(sql)))
    shown = json.loads(found.model_dump_json())
    assert {name: shown[name] for name in sent} == sent
    assert shown["floats"] == {"lower": 1.5, "upper": 2.0, "bounds": "[)", "empty": False}
    assert shown["none"]["empty"] is True


class Visit(ReadEntity):
    places: list[Place]
    around: Circle
    shapes: Points
    nights: list[RangeOf[int]]
    floats: RangeOf[float]
    none: RangeOf[int]


def test_the_document_describes_what_is_written_as_an_object() -> None:
    schema = TypeAdapter(Place).json_schema(mode="serialization")
    assert schema["properties"].keys() == {"name", "at", "open"}
    assert "lower" in schema["$defs"]["RangeOf_date_"]["properties"]
