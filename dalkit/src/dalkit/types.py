"""Types for input that hold what a PostgreSQL column holds, so that what does not fit is a 422.

Use them in request bodies and query models. Entities read rows that are stored already: give their
fields the plain types.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar

import asyncpg
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    IPvAnyInterface,
    IPvAnyNetwork,
    JsonValue,
    NaiveDatetime,
    PlainSerializer,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    StrictBool,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema
from sqlalchemy.dialects.postgresql import Range

__all__ = [
    "Body",
    "Bytes",
    "Cidr",
    "Circle",
    "Composite",
    "Date",
    "Digits",
    "Duration",
    "Filter",
    "Float",
    "Id",
    "Inet",
    "Int16",
    "Int32",
    "Int64",
    "JsonData",
    "JsonFloat",
    "JsonInt16",
    "JsonInt32",
    "JsonInt64",
    "LocalTimestamp",
    "Point",
    "Points",
    "RangeOf",
    "Text",
    "TextId",
    "Time",
    "Timestamp",
]

T = TypeVar("T")

#: PostgreSQL stores no NUL character in text (SQLSTATE 22021). A pattern also makes pydantic refuse
#: lone surrogates, which have no UTF-8.
NO_NUL = r"^[^\x00]*$"


#: Levels that a value of JSON may have: pydantic writes 255, of which a response has its own.
MOST_LEVELS = 200

#: The validation context of values that are all written as text, those of a CSV file for example.
FROM_TEXT = {"from_text": True}
_HOURS_ONLY = re.compile(r":\d\d(\.\d+)?[+-]\d\d$")
_DIGITS = re.compile(r"-?[0-9]+")


def number_only(value: object, info: ValidationInfo) -> object:
    """Refuse the strings and booleans that pydantic would take for an integer.

    Where all values are written as text, digits are a number.
    """
    if info.context == FROM_TEXT and isinstance(value, str) and _DIGITS.fullmatch(value):
        return value
    if isinstance(value, str | bytes | bool):
        raise ValueError("use a number")
    return value


def _digits_only(value: object) -> object:
    """Refuse the other ways to write an integer, of which pydantic takes `1.0`, `+1` and `1_0`."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,19}", value):
        raise ValueError("use at most 19 digits")
    return value


def iso_only(value: object, info: ValidationInfo) -> object:
    """Refuse the numbers and bare digits that pydantic would take for seconds since 1970.

    Where all values are written as text, PostgreSQL may have written them: `10:00:00+00`.
    """
    if info.context == FROM_TEXT and isinstance(value, str) and _HOURS_ONLY.search(value):
        value += ":00"
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d", value):
        return value
    if isinstance(value, date):
        return value
    raise ValueError("use ISO 8601, for example 2026-01-31 or 2026-01-31T12:00:00Z")


def _finite(value: date) -> date:
    """Refuse the first and the last day of the calendar, which asyncpg stores as infinity."""
    if value in (date.min, date.max):
        raise ValueError("use a date from 0001-01-02 to 9999-12-30")
    return value


_INFINITE = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def _in_utc(value: datetime) -> datetime:
    """The same instant in UTC; the first and last hours of the calendar may have none.

    The very first and last microsecond are refused too: asyncpg stores them as infinity.
    """
    with suppress(OverflowError):
        if (instant := value.astimezone(UTC)) not in _INFINITE:
            return instant
    raise ValueError(
        "use an instant after 0001-01-01T00:00:00Z and before 9999-12-31T23:59:59.999999Z"
    )


def _storable(value: JsonValue) -> JsonValue:
    """Refuse what could not be answered again, and texts that jsonb does not take.

    They are NUL, and lone surrogates, which have no UTF-8.
    """
    if is_nested_too_deeply(value):
        raise ValueError(f"use at most {MOST_LEVELS} levels")
    return _without_odd_texts(value)


def is_nested_too_deeply(value: object) -> bool:
    """Whether a value of JSON has more than MOST_LEVELS of arrays and objects."""
    level = [value]
    for _ in range(MOST_LEVELS + 1):
        nested = [it for it in level if isinstance(it, dict | list)]
        if not nested:
            return False
        level = [inner for it in nested for inner in (it.values() if isinstance(it, dict) else it)]
    return True


def _without_odd_texts(value: JsonValue) -> JsonValue:
    match value:
        case str():
            is_storable = "\0" not in value and not re.search("[\ud800-\udfff]", value)
            if not is_storable:
                raise ValueError("use text without NUL and lone surrogates")
        case dict():
            for name, inner in value.items():
                _without_odd_texts(name), _without_odd_texts(inner)
        case list():
            for inner in value:
                _without_odd_texts(inner)
        case float() if value - value != 0:
            raise ValueError("use finite numbers")
    return value


def _from_base64(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return b64decode(value, validate=True)
    except (NotBase64, ValueError):
        raise ValueError("use base64 (RFC 4648, section 4)") from None


def _text_only(value: object) -> object:
    """Refuse the numbers that pydantic would take for seconds or for an address."""
    if isinstance(value, int | float):
        raise ValueError("use a string")
    return value


def _without_zone(value: time) -> time:
    if value.tzinfo is not None:
        raise ValueError("use a time without an offset, for example 08:30:00")
    return value


def _finite_local(value: object, handler: ValidatorFunctionWrapHandler) -> datetime:
    """Refuse a text for the first or the last microsecond, which asyncpg stores as infinity."""
    found: datetime = handler(value)
    if not isinstance(value, datetime) and found in (datetime.min, datetime.max):  # noqa: DTZ901
        raise ValueError("use an instant after year 1 begins and before year 9999 ends")
    return found


def _listed(value: object) -> object:
    """asyncpg's shapes as lists of their points."""
    shapes = asyncpg.Path | asyncpg.Polygon | asyncpg.Box | asyncpg.LineSegment
    return list(value) if isinstance(value, shapes) else value


Int16 = Annotated[int, Field(ge=-(2**15), le=2**15 - 1)]
"""What fits smallint."""
Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
"""What fits integer."""
Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
"""What fits bigint."""
Id = Annotated[int, Field(ge=0, le=2**63 - 1), BeforeValidator(_digits_only)]
"""A path parameter with the key of a row. Declare the route as `/{book_id}`, without `:int`."""
JsonInt16 = Annotated[Int16, BeforeValidator(number_only)]
"""What fits smallint, in a body: a number of JSON, neither "1" nor true."""
JsonInt32 = Annotated[Int32, BeforeValidator(number_only)]
"""What fits integer, in a body: a number of JSON, neither "1" nor true."""
JsonInt64 = Annotated[Int64, BeforeValidator(number_only)]
"""What fits bigint, in a body: a number of JSON, neither "1" nor true."""
Float = Annotated[float, Field(allow_inf_nan=False)]
"""What fits double precision: a finite number."""
JsonFloat = Annotated[Float, BeforeValidator(number_only)]
"""What fits double precision, in a body: a number of JSON."""
Text = Annotated[str, Field(pattern=NO_NUL)]
"""What fits text: without NUL and lone surrogates."""
TextId = Annotated[str, Field(pattern=r"^[^\x00/]+$")]
"""A text that is the key of a row, in a path and in the body of a new row: without a slash."""
Date = Annotated[date, AfterValidator(_finite), BeforeValidator(iso_only)]
"""What fits date, in ISO 8601; neither a number nor the first or last day of the calendar."""
Timestamp = Annotated[AwareDatetime, AfterValidator(_in_utc), BeforeValidator(iso_only)]
"""An instant in ISO 8601 with its offset, read as UTC: what fits timestamptz."""
LocalTimestamp = Annotated[
    NaiveDatetime,
    WrapValidator(_finite_local),
    BeforeValidator(iso_only),
    WithJsonSchema({"type": "string", "pattern": r"^\d{4}-\d\d-\d\d"}),
]
"""Date and time in ISO 8601 without an offset: what fits timestamp without time zone.

Also for a field of an entity, where it may be infinite: the format `date-time` wants an offset.
"""
Time = Annotated[
    time,
    AfterValidator(_without_zone),
    BeforeValidator(_text_only),
    WithJsonSchema({"type": "string", "pattern": r"^\d\d:\d\d"}),
]
"""A time of the day in ISO 8601 without an offset: what fits time without time zone.

Also for a field of an entity: the format `time` wants an offset.
"""
Duration = Annotated[timedelta, BeforeValidator(_text_only)]
"""An ISO 8601 duration such as `P1DT12H`: what fits interval."""
Bytes = Annotated[
    bytes,
    BeforeValidator(_from_base64),
    PlainSerializer(lambda value: b64encode(value).decode(), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]
"""What fits bytea: base64 in JSON; also for a field of an entity."""
JsonData = Annotated[JsonValue, AfterValidator(_storable)]
"""What fits jsonb: any JSON of 200 levels, of finite numbers and of texts without NUL."""
Point = Annotated[
    tuple[JsonFloat, JsonFloat],
    WithJsonSchema({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}),
]
"""What fits point, in a body and in an entity: `[1.5, 2]`."""
Points = Annotated[list[Point], BeforeValidator(_listed)]
"""What fits path, polygon and, with two of them, box and lseg; in a body and in an entity."""
Inet = Annotated[IPvAnyInterface, BeforeValidator(_text_only)]
"""What fits inet: `192.0.2.1/24`; also for a field of an entity."""
Cidr = Annotated[IPvAnyNetwork, BeforeValidator(_text_only)]
"""What fits cidr: `192.0.2.0/24`; also for a field of an entity."""


class Digits:
    """`Annotated[Decimal, Digits(10, 2)]`: what fits numeric(10, 2), without rounding.

    A string or a JSON number; NaN, infinities and further digits are refused.
    """

    def __init__(self, precision: int, scale: int = 0) -> None:
        self.precision = precision
        self.scale = scale

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.decimal_schema(
            max_digits=self.precision, decimal_places=self.scale, allow_inf_nan=False
        )

    def __get_pydantic_json_schema__(
        self, schema: dict[str, Any], handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        whole = self.precision - self.scale
        digits = rf"\d{{1,{whole}}}" if whole > 0 else "0"
        fraction = rf"(\.\d{{1,{self.scale}}})?" if self.scale else ""
        sign = "-?" if schema.get("ge", -1) < 0 else ""
        text = {"type": "string", "pattern": rf"^{sign}{digits}{fraction}$"}
        if handler.mode == "serialization":
            return text
        step, largest = float(Decimal(1).scaleb(-self.scale)), max(10**whole - 1, 0)
        least, most = schema.get("ge", -largest), schema.get("le", largest)
        number = {"type": "number", "minimum": int(least), "maximum": int(most), "multipleOf": step}
        return {"anyOf": [number, text]}


class _Given:
    """A parameter that may be absent and is never null: null is left out of its JSON schema."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described = handler(schema)
        options = [option for option in described.pop("anyOf") if option != {"type": "null"}]
        return described | (options[0] if len(options) == 1 else {"anyOf": options})


Filter = Annotated[T | None, _Given()]
"""A query parameter that filters when it is given: `title__eq: Filter[Text] = None`."""


class Body(BaseModel):
    """A request body, of which every field is declared: any other is a 422.

    The body of a PATCH has fields that may be left out but not be null: declare them
    `title: Title | MISSING = MISSING`, with pydantic's MISSING. `Entity.update` writes the fields
    that were sent.
    """

    model_config = ConfigDict(extra="forbid")


class _Written(BaseModel):
    """A value that JSON has as an object, and the driver as something else."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=True)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The object; what the serializer returns has no type, and so no schema."""
        inner: Any = schema
        while inner["type"] != "model":
            inner = inner["schema"]
        return handler({key: of for key, of in inner.items() if key != "serialization"})

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
        return handler(self) if info.mode == "json" else self._for_driver()

    def _for_driver(self) -> Any:
        raise NotImplementedError


class Composite(_Written):
    """A value of a composite type: declare its fields in the order of the type.

    For a body and for an entity, which read it as an object: `{"street": ..., "town": ...}`.
    """

    @model_validator(mode="before")
    @classmethod
    def _of_record(cls, value: object) -> object:
        return dict(value.items()) if isinstance(value, asyncpg.Record) else value

    def _for_driver(self) -> Any:
        return tuple(_driven(value) for value in vars(self).values())


class Circle(_Written):
    """What fits circle, in a body and in an entity."""

    center: Point
    radius: Annotated[JsonFloat, Field(ge=0)]

    @model_validator(mode="before")
    @classmethod
    def _of_circle(cls, value: object) -> object:
        if isinstance(value, asyncpg.Circle):
            return {"center": value.center, "radius": value.radius}
        return value

    def _for_driver(self) -> Any:
        return self.center, self.radius


class RangeOf(_Written, Generic[T]):
    """`RangeOf[date]`: a range, in a body and in an entity.

    `{"lower": "2026-01-01", "upper": null, "bounds": "[)", "empty": false}`, of which a client may
    leave out what is as it is here or null.
    """

    lower: T | None = None
    upper: T | None = None
    bounds: Literal["[)", "[]", "(]", "()"] = "[)"
    empty: StrictBool = False

    @model_validator(mode="before")
    @classmethod
    def _of_range(cls, value: object) -> object:
        """asyncpg's ranges, of a type that SQLAlchemy does not know, and SQLAlchemy's."""
        if isinstance(value, asyncpg.Range):
            bounds = ("[" if value.lower_inc else "(") + ("]" if value.upper_inc else ")")
            found = {"lower": value.lower, "upper": value.upper, "bounds": bounds}
            return {"empty": True} if value.isempty else found
        if isinstance(value, Range):
            return {name: getattr(value, name) for name in ("lower", "upper", "bounds", "empty")}
        return value

    def _for_driver(self) -> Any:
        inclusive = {"lower_inc": self.bounds[0] == "[", "upper_inc": self.bounds[1] == "]"}
        return asyncpg.Range(self.lower, self.upper, empty=self.empty, **inclusive)


def _driven(value: Any) -> Any:
    """What asyncpg takes for a value inside of another one."""
    if isinstance(value, list | tuple):
        return type(value)(map(_driven, value))
    return value._for_driver() if isinstance(value, _Written) else value
