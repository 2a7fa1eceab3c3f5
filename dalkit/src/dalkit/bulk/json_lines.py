"""JSON Lines: a file's lines to objects, and what COPY writes to lines."""

import json
from collections.abc import AsyncIterator
from typing import Any, NoReturn, Self

from ..types import MOST_LEVELS, is_nested_too_deeply
from .staging import BAD_TEXT, BulkError, Object

TOO_DEEP = "it is nested too deeply"
#: Bytes that one line may have.
LIMIT = 16 * 1024 * 1024


class Number(float):
    """A number whose str() is as it was written: pydantic and COPY take it from there."""

    written: str

    def __new__(cls, written: str) -> Self:
        """The number; infinite when a float cannot hold it."""
        new = super().__new__(cls, written)
        new.written = written
        return new

    def __str__(self) -> str:
        return self.written


def _integer(written: str) -> int | Number:
    return int(written) if len(written) < 4300 else Number(written)  # int() takes no more


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> Object:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise BulkError("the object has this key twice", column=twice)
    return found


_scan: Any = json.JSONDecoder(
    parse_int=_integer, parse_float=Number, parse_constant=_refuse, object_pairs_hook=_unique
).scan_once  # type: ignore[attr-defined]


async def read_objects(pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, Object]]:
    """Each object with its row; blank lines are left out. Raises BulkError."""
    row = 0
    async for block in read_blocks(pieces):
        for row, line in enumerate(block.split(b"\n")[:-1], row + 1):  # noqa: B020
            if (values := object_of(line, row)) is not None:
                yield row, values


async def read_blocks(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines that end in each piece, together, and the last one; each has its line feed.

    Raises BulkError for a line that is too long.
    """
    row, begun = 0, bytearray()
    async for piece in pieces:
        if end := piece.rfind(b"\n") + 1:
            block = bytes(begun + piece[:end])
            begun = bytearray(piece[end:])
            yield block
            row += block.count(b"\n")
        else:
            begun += piece
        if len(begun) > LIMIT:
            raise BulkError(f"the line is longer than {LIMIT} bytes", row=row + 1)
    if begun:
        yield bytes(begun + b"\n")


def object_of(line: bytes, row: int) -> Object | None:
    """The object in a line, None when it is blank; raises BulkError."""
    text = line.strip(b" \t\r")
    try:
        return _object(text) if text else None
    except BulkError as error:
        raise error.at(row) from None


def _object(line: bytes) -> Object:
    try:
        text = line.decode()
        value, end = _scan(text, 0)
    except UnicodeDecodeError:
        raise BulkError(BAD_TEXT) from None
    except StopIteration:
        reason = "Expecting value"
    except json.JSONDecodeError as error:
        reason = _SENTENCES.get(error.msg, error.msg)
    except RecursionError:
        reason = TOO_DEEP
    except ValueError as error:
        reason = str(error)
    else:
        if not isinstance(value, dict):
            reason = "'{' is missing"
        elif end < len(text):
            reason = "there is text after the object"
        elif text.count("[") + text.count("{") > MOST_LEVELS and is_nested_too_deeply(value):
            reason = TOO_DEEP
        else:
            return value
    raise BulkError(f"not a JSON object: {reason}")


_NO_KEY = "a key in double quotes is missing"
#: What json's sentences mean; they differ between versions of Python.
_SENTENCES = {
    "Expecting ',' delimiter": "',' or '}' is missing",
    "Expecting ':' delimiter": "':' is missing",
    "Expecting property name enclosed in double quotes": _NO_KEY,
    "Illegal trailing comma before end of object": _NO_KEY,
}


def lines_of(copied: bytes) -> bytes:
    """What COPY has written in its text format, as lines of JSON.

    Only columns of type json have line breaks and tabs outside of strings: a space will do.
    """
    if b"\\" not in copied:
        return copied
    text = copied.replace(b"\\\\", b"\0")
    for escape in (b"\\n", b"\\r", b"\\t"):
        text = text.replace(escape, b" ")
    return text.replace(b"\0", b"\\")
