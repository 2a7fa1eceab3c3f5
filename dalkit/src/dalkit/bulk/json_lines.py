"""JSON Lines: lines to COPY's text format, and what COPY writes to lines."""

import json
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NoReturn, Self

from .copy_text import Number, Object
from .staging import BAD_TEXT, BulkError

#: Bytes that one line may have.
LIMIT = 16 * 1024 * 1024
#: Bytes that are read before the lines so far are looked at.
CHUNK = 64 * 1024

#: Reads a value at a place of a text, and tells where it ends.
Scan = Callable[[str, int], tuple[Any, int]]

_SPACE = " \t\r"


class ModelNumber(float):
    """A number for a model: pydantic makes a Decimal of its str(), which is as it was written."""

    written: str

    def __new__(cls, written: str) -> Self:
        """The number; infinite when a float cannot hold it."""
        new = super().__new__(cls, written)
        new.written = written
        return new

    def __str__(self) -> str:
        return self.written


def _integer(written: str) -> int | ModelNumber:
    return int(written) if len(written) < 4300 else ModelNumber(written)  # int() takes no more


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> Object:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise BulkError("the object has this key twice", column=twice)
    return found


def _scanner(integer: Callable[[str], Any], number: Callable[[str], Any]) -> Scan:
    decoder: Any = json.JSONDecoder(
        parse_int=integer, parse_float=number, parse_constant=_refuse, object_pairs_hook=_unique
    )
    scan: Scan = decoder.scan_once
    return scan


#: Numbers are the text that they were written with, or what a model takes.
as_written, for_models = _scanner(Number, Number), _scanner(_integer, ModelNumber)


async def read_objects(
    pieces: AsyncIterator[bytes], scan: Scan
) -> AsyncIterator[tuple[Sequence[int], list[Object]]]:
    """The objects, some at a time, and the row of each; blank lines are left out.

    Raises BulkError.
    """
    async for before, text in whole_lines(pieces):
        rows, objects = array("Q"), []
        for row, line in enumerate(text.split("\n"), before + 1):
            if line := line.strip(_SPACE):
                try:
                    objects.append(_object(line, scan))
                except BulkError as error:
                    raise error.at(row) from None
                rows.append(row)
        is_dense = bool(rows) and rows[-1] - before == len(rows)  # a range takes less memory
        yield range(rows[0], rows[-1] + 1) if is_dense else rows, objects


async def whole_lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, str]]:
    """Text that ends where a line ends, without the last line break, and how many were before."""
    kept: list[bytes] = []
    before = size = begun = 0  # lines; bytes kept, and those of a line that has no end yet
    async for piece in pieces:
        kept.append(piece)
        size += len(piece)
        begun = len(piece) - end - 1 if (end := piece.rfind(b"\n")) >= 0 else begun + len(piece)
        if begun > LIMIT:
            row = before + 1 + sum(one.count(b"\n") for one in kept)
            raise BulkError(f"the line is longer than {LIMIT} bytes", row=row)
        if begun < size > CHUNK:
            head, _, tail = b"".join(kept).rpartition(b"\n")
            kept, size = [tail], begun
            yield before, decoded(head, before)
            before += head.count(b"\n") + 1
    if rest := b"".join(kept):
        yield before, decoded(rest.removesuffix(b"\n"), before)


def decoded(text: bytes, rows: int) -> str:
    """The text, which is after so many rows; raises BulkError."""
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise BulkError(BAD_TEXT, row=rows + 1 + text.count(b"\n", 0, error.start)) from None


def _object(line: str, scan: Scan) -> Object:
    try:
        value, end = scan(line, 0)
    except StopIteration:
        reason = "Expecting value"
    except json.JSONDecodeError as error:
        reason = _SENTENCES.get(error.msg, error.msg)
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:
        reason = str(error)
    else:
        if isinstance(value, dict) and end == len(line):
            return value
        is_object = isinstance(value, dict)
        reason = "there is text after the object" if is_object else "'{' is missing"
    raise BulkError(f"not a JSON object: {reason}")


_NO_KEY = "a key in double quotes is missing"
#: What json's sentences mean; they differ between versions of Python.
_SENTENCES = {
    "Expecting ',' delimiter": "',' or '}' is missing",
    "Expecting ':' delimiter": "':' is missing",
    "Expecting property name enclosed in double quotes": _NO_KEY,
    "Illegal trailing comma before end of object": _NO_KEY,
}


def as_json(sql: str) -> str:
    """The statement whose rows are the rows of `sql` as JSON objects."""
    return f"WITH exported AS ({sql}) SELECT row_to_json(exported) FROM exported"  # noqa: S608


def lines(copied: bytes) -> bytes:
    """What COPY has written in its text format, as lines of JSON.

    Only columns of type json have line breaks and tabs outside of strings: a space will do.
    """
    if b"\\" not in copied:
        return copied
    text = copied.replace(b"\\\\", b"\0")
    for escape in (b"\\n", b"\\r", b"\\t"):
        text = text.replace(escape, b" ")
    return text.replace(b"\0", b"\\")
