"""One line of JSON: its members, with the text that each value was written with."""

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

_SPACE = re.compile(r"[ \t\r]*")


class Number(str):
    """A number as it was written: no digit is lost and none is too many."""

    __slots__ = ()


def members(line: str) -> Iterator[tuple[str, Any, str]]:
    """Key, value and the value's text of every member of a JSON object (RFC 8259).

    Raises ValueError with a reason that shows no value of the line.
    """
    at = _after("{", line, 0)
    more = not line.startswith("}", at)
    while more:
        key, at = _value(line, at)
        if type(key) is not str:
            raise ValueError("a key is not a string")
        start = _after(":", line, at)
        value, at = _value(line, start)
        yield key, value, line[start:at]
        at = _skip(line, at)
        if more := line.startswith(",", at):
            at = _skip(line, at + 1)
    if _after("}", line, at) != len(line):
        raise ValueError("there is text after the object")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_decode = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=_refuse).raw_decode


def _value(line: str, at: int) -> tuple[Any, int]:
    try:
        return _decode(line, at)
    except json.JSONDecodeError as error:
        raise ValueError(error.msg) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _after(token: str, line: str, at: int) -> int:
    at = _skip(line, at)
    if not line.startswith(token, at):
        raise ValueError(f"'{token}' is missing")
    return _skip(line, at + 1)


def _skip(line: str, at: int) -> int:
    found = _SPACE.match(line, at)
    return found.end() if found else at
