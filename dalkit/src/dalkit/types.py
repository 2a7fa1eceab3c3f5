"""Types for input that hold what a PostgreSQL column holds, so that what does not fit is a 422.

Use them in request bodies and query models. Entities read rows that are stored already: give their
fields the plain types.
"""

import re
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
)
from pydantic_core import CoreSchema, core_schema

__all__ = [
    "Body",
    "Date",
    "Digits",
    "Filter",
    "Float",
    "Id",
    "Int16",
    "Int32",
    "Int64",
    "JsonInt64",
    "Text",
    "Timestamp",
]

T = TypeVar("T")

#: PostgreSQL stores no NUL character in text (SQLSTATE 22021). A pattern also makes pydantic refuse
#: lone surrogates, which have no UTF-8.
NO_NUL = r"^[^\x00]*$"


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


Int16 = Annotated[int, Field(ge=-(2**15), le=2**15 - 1)]
"""What fits smallint."""
Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
"""What fits integer."""
Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
"""What fits bigint."""
Id = Annotated[int, Field(ge=0, le=2**63 - 1), BeforeValidator(_digits_only)]
"""A path parameter with the key of a row. Declare the route as `/{book_id}`, without `:int`."""
JsonInt64 = Annotated[Int64, BeforeValidator(number_only)]
"""What fits bigint, in a body: a number of JSON, neither "1" nor true."""
Float = Annotated[float, Field(allow_inf_nan=False)]
"""What fits double precision: a finite number."""
Text = Annotated[str, Field(pattern=NO_NUL)]
"""What fits text: without NUL and lone surrogates."""
Date = Annotated[date, AfterValidator(_finite), BeforeValidator(iso_only)]
"""What fits date, in ISO 8601; neither a number nor the first or last day of the calendar."""
Timestamp = Annotated[AwareDatetime, AfterValidator(_in_utc), BeforeValidator(iso_only)]
"""An instant in ISO 8601 with its offset, read as UTC: what fits timestamptz."""


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
        fraction = rf"(\.\d{{1,{self.scale}}})?" if self.scale else ""
        sign = "-?" if schema.get("ge", -1) < 0 else ""
        text = {"type": "string", "pattern": rf"^{sign}\d{{1,{whole}}}{fraction}$"}
        if handler.mode == "serialization":
            return text
        step, largest = float(Decimal(1).scaleb(-self.scale)), 10**whole - 1
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
