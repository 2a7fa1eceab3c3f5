"""The header of a CSV file: which columns it has, in which order."""

import csv
import re
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing

from .errors import BulkError
from .formats import Csv, Format
from .json_lines import whole_lines
from .json_object import members
from .sources import Source, pieces

#: Bytes that a header may have.
LIMIT = 64 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


async def read_header(pieces: AsyncIterator[bytes], form: Csv) -> tuple[list[str], bytes]:
    """The names in the first row, and the bytes taken so far, without a byte order mark.

    Raises BulkError.
    """
    taken, end = b"", None
    async for piece in pieces:
        taken = (taken + piece).removeprefix(_BYTE_ORDER_MARK)
        if (end := _end_of_record(taken, form)) is not None or len(taken) > LIMIT:
            break
    if not taken.strip():
        raise BulkError("the file is empty")
    if len(taken[:end]) > LIMIT:
        raise BulkError(f"the header is longer than {LIMIT} bytes", row=1)
    return _names(taken[:end], form), taken


async def columns_of(source: Source, file_format: Format) -> list[str]:
    """The columns in the header, or the keys of the first line of JSON; raises BulkError."""
    async with aclosing(pieces(source)) as taken:
        if isinstance(file_format, Csv):
            return (await read_header(taken, file_format))[0]
        async for line in whole_lines(taken):
            try:
                return [key for key, _, _ in members(line.partition(b"\n")[0].decode())]
            except ValueError as error:
                raise BulkError(f"not a JSON object: {error}", row=1) from None
    raise BulkError("the file is empty")


def check_header(names: Collection[str], known: Collection[str], required: Collection[str]) -> None:
    """Raise BulkError when a name is unknown, doubled or missing."""
    seen: set[str] = set()
    for name in names:
        if name not in known:
            raise BulkError(
                f"the columns are {', '.join(known)}; there is no such column",
                row=1,
                column=name[:63],
            )
        if name in seen:
            raise BulkError("the header has this column twice", row=1, column=name)
        seen.add(name)
    for name in required:
        if name not in seen:
            raise BulkError("the header lacks this column", row=1, column=name)


def _end_of_record(text: bytes, form: Csv) -> int | None:
    """Where the first line break outside of quotes is, or None."""
    quote = re.escape(form.quote.encode())
    outside = rb"(?:[^%b\r\n]++|%b[^%b]*+%b)*+" % ((quote,) * 4)
    found = re.match(outside + rb"(?=[\r\n])", text)
    return found and found.end()


def _names(record: bytes, form: Csv) -> list[str]:
    escape = form.escape if form.escape != form.quote else None
    try:
        rows = csv.reader(
            [record.decode()],
            delimiter=form.delimiter,
            quotechar=form.quote,
            escapechar=escape,
            doublequote=escape is None,
            strict=True,
        )
        return next(rows, [])
    except UnicodeDecodeError:
        raise BulkError("the header is not UTF-8", row=1) from None
    except csv.Error:
        raise BulkError("the header cannot be read", row=1) from None
