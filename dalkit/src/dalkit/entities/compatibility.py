"""Which annotations hold the values of which columns."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from inspect import isclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin
from uuid import UUID

from annotated_types import Ge, Le
from pydantic import BeforeValidator, PlainValidator, WrapValidator
from sqlalchemy.dialects.postgresql import CIDR, DOMAIN, INET
from sqlalchemy.types import ARRAY, JSON, BigInteger, Integer, NullType, SmallInteger, TypeEngine

from ..types import iso_only

#: Python type of a column's values -> types that pydantic makes of every such value.
ACCEPTED: dict[type, set[type]] = {
    bool: {bool},
    int: {int, float, Decimal},
    float: {float, Decimal},
    Decimal: {Decimal, float},
    str: {str},
    bytes: {bytes},
    date: {date},
    datetime: {datetime},
    time: {time},
    timedelta: {timedelta},
    UUID: {UUID},
}
CONVERTING = (BeforeValidator, PlainValidator, WrapValidator)


class Option(NamedTuple):
    """One member of a union, without Annotated, and what Annotated and Field said about it."""

    type: Any
    metadata: tuple[Any, ...] = ()


def options(annotation: Any, metadata: tuple[Any, ...] = ()) -> Iterator[Option]:
    """The types that an annotation allows, one after the other."""
    annotation = getattr(annotation, "__value__", annotation)  # type X = ...
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        yield from options(inner, (*metadata, *more))
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from options(member, metadata)
    else:
        yield Option(annotation, metadata)


def allows_none(annotation: Any) -> bool:
    """Whether None is a value of the annotation."""
    return any(option.type in (NoneType, Any, object) for option in options(annotation))


def can_read(annotation: Any, metadata: tuple[Any, ...], of: TypeEngine[Any]) -> bool:
    """Whether a column's values are values of the annotation; when in doubt they are."""
    return any(_can_read(option, base_type(of)) for option in options(annotation, metadata))


def _can_read(option: Option, of: TypeEngine[Any]) -> bool:
    if isinstance(of, ARRAY) and not _is_open(option):
        items = get_args(option.type)
        if option.type in (NoneType, *ACCEPTED):
            return False
        return not items or can_read(items[0], (), of.item_type)
    return _agree(option, of, lambda column, field: field in ACCEPTED[column])


def can_compare(annotation: Any, metadata: tuple[Any, ...], of: TypeEngine[Any]) -> bool:
    """Whether values of the annotation can be compared with a column's; when in doubt they can."""
    return any(
        _agree(option, base_type(of), lambda column, field: column in ACCEPTED[field])
        for option in options(annotation, metadata)
    )


def _agree(option: Option, of: TypeEngine[Any], rule: Callable[[type, type], bool]) -> bool:
    if option.type is NoneType:
        return False
    if _is_open(option) or isinstance(of, NullType | JSON):
        return True
    if isinstance(of, INET | CIDR):  # asyncpg makes ipaddress objects of them
        return option.type not in ACCEPTED
    python_type = python_type_of(of)
    values = _literal_values(option.type)
    if values is not None:
        return all(isinstance(value, python_type) for value in values)
    if option.type not in ACCEPTED or python_type not in ACCEPTED:
        return True
    return rule(python_type, option.type)


def _is_open(option: Option) -> bool:
    """Whether anything goes, because a validator converts the value."""
    return option.type in (Any, object) or any(
        isinstance(item, CONVERTING) and item.func is not iso_only for item in option.metadata
    )


def _literal_values(annotation: Any) -> list[Any] | None:
    """The values of a Literal or an Enum, None for another type."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if isclass(annotation) and issubclass(annotation, Enum):
        return [member.value for member in annotation]
    return None


def base_type(of: TypeEngine[Any]) -> TypeEngine[Any]:
    """The type below a domain."""
    return base_type(of.data_type) if isinstance(of, DOMAIN) else of


def python_type_of(of: TypeEngine[Any]) -> type:
    """The Python type of a column's values, object when SQLAlchemy does not know it."""
    try:
        return base_type(of).python_type
    except NotImplementedError:
        return object


def list_item(annotation: Any) -> Any:
    """The item type of the list among the options, None when there is no list."""
    lists = (option.type for option in options(annotation) if get_origin(option.type) is list)
    return next((get_args(found)[0] for found in lists), None)


def named(annotation: Any) -> str:
    """The annotation as it would be written, without what Annotated adds."""
    members = (option.type for option in options(annotation))
    return " | ".join(
        "None" if member is NoneType else getattr(member, "__name__", str(member))
        for member in members
    )


def unfit_input(annotation: Any, metadata: tuple[Any, ...], of: TypeEngine[Any]) -> str:
    """The name in .types to declare, if the annotation has values that the column cannot hold."""
    of = base_type(of)
    for option in options(annotation, metadata):
        if option.type is int and isinstance(of, Integer) and not _is_within(option, _bits(of)):
            return f"Int{_bits(of)}"
        if option.type is str and not _has_pattern(option):
            return "Text"
    return ""


def _bits(of: Integer) -> int:
    return 16 if isinstance(of, SmallInteger) else 64 if isinstance(of, BigInteger) else 32


def _is_within(option: Option, bits: int) -> bool:
    low = [one.ge for one in _constraints(option) if isinstance(one, Ge)]
    high = [one.le for one in _constraints(option) if isinstance(one, Le)]
    least = -(2 ** (bits - 1))
    return any(bound >= least for bound in low) and any(bound <= -least - 1 for bound in high)


def _has_pattern(option: Option) -> bool:
    return any(getattr(one, "pattern", None) for one in _constraints(option))


def _constraints(option: Option) -> list[Any]:
    """What Annotated and Field say, one by one; a Field inside Annotated holds several."""
    return [one for item in option.metadata for one in getattr(item, "metadata", [item])]
