"""The formats of a file, and how the records of CSV are read."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import PurePath
from typing import Any, ClassVar

from .staging import BAD_TEXT, BulkError

#: Bytes that a record may have which a model validates.
RECORD_LIMIT = 1024 * 1024
#: Bytes that are read at most before what has no end yet is looked at again.
CHUNK = 64 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True)
class Csv:
    """CSV as COPY reads and writes it, in UTF-8: nothing is NULL, an empty quoted value is text.

    Raises ValueError when delimiter, quote or escape is not a single ASCII character.
    """

    header: bool = True
    delimiter: str = ","
    quote: str = '"'
    escape: str | None = None  # the quote character when None
    null: str = ""

    name: ClassVar[str] = "csv"
    media_type: ClassVar[str] = "text/csv"

    def __post_init__(self) -> None:
        for name in ("delimiter", "quote", "escape"):
            value = getattr(self, name)
            if value is not None and (len(value) != 1 or not value.isascii() or value in "\r\n\0"):
                raise ValueError(f"{name} is {value!r}; it must be a single ASCII character.")
        if self.delimiter == self.quote:
            raise ValueError(f"delimiter and quote are both {self.quote!r}; they must differ.")

    def options(self) -> dict[str, Any]:
        """The arguments of asyncpg's copy methods."""
        return {"format": "csv"} | {field.name: getattr(self, field.name) for field in fields(self)}

    async def records(
        self, pieces: AsyncIterator[bytes]
    ) -> AsyncIterator[tuple[int, list[str | None]]]:
        """Each record with its last row in the file; None is NULL. Raises BulkError."""
        row, looked_at, kept = 0, 0, bytearray()
        async for piece in _ended(pieces):
            kept += piece or (b"\n" if kept and not kept.endswith(b"\n") else b"")
            if piece and len(kept) < looked_at + min(looked_at, CHUNK):
                continue
            text, start = bytes(kept), 0
            for values, end in self._split(text):
                row += text.count(b"\n", start, end) or text.count(b"\r", start, end)
                start = end
                try:
                    yield row, [None if value is None else value.decode() for value in values]
                except UnicodeDecodeError:
                    raise BulkError(BAD_TEXT, row=row) from None
            kept = bytearray(text[start:])
            looked_at = len(kept)
            if kept and (not piece or looked_at > RECORD_LIMIT):
                raise BulkError("the row cannot be read", row=row + 1)

    def _split(self, text: bytes) -> Iterator[tuple[list[bytes | None], int]]:
        """The records at the beginning, each with its end, until one goes on or cannot be read."""
        null, delimiter = self.null.encode(), self.delimiter.encode()
        escape = (self.escape or self.quote).encode()
        values: list[bytes | None] = []
        at = 0
        while found := self._value.match(text, at):
            quoted, plain, end = found.groups()
            at = found.end()
            if quoted is None:
                values.append(None if plain == null else plain)
            else:
                values.append(self._escape.sub(rb"\1", quoted) if escape in quoted else quoted)
            if end == b"\r" and at == len(text):  # a line feed may follow
                return
            if end != delimiter:
                yield values, at
                values = []

    @cached_property
    def _escape(self) -> re.Pattern[bytes]:
        escape, quote = re.escape(self.escape or self.quote), re.escape(self.quote)
        return re.compile(f"{escape}([{quote}{escape}])".encode())

    @cached_property
    def _value(self) -> re.Pattern[bytes]:
        """A value, in quotes or not, and what ends it."""
        quote, delimiter = re.escape(self.quote), re.escape(self.delimiter)
        escape = re.escape(self.escape or self.quote)
        text, escaped = f"[^{quote}{escape}]*+", escape + (quote if escape == quote else ".")
        pattern = (
            rf"(?:{quote}({text}(?:{escaped}{text})*+){quote}|([^{quote}{delimiter}\r\n]*+))"
            rf"({delimiter}|\r\n?|\n)"
        )
        return re.compile(pattern.encode(), re.DOTALL)


async def without_mark(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces without the byte order mark that spreadsheets begin UTF-8 with."""
    begun = b""
    async for piece in pieces:
        begun += piece
        if len(begun) >= len(BYTE_ORDER_MARK) or not BYTE_ORDER_MARK.startswith(begun):
            break
    yield begun.removeprefix(BYTE_ORDER_MARK)
    async for piece in pieces:
        yield piece


async def _ended(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces that are not empty, and an empty one."""
    async for piece in pieces:
        if piece:
            yield piece
    yield b""


@dataclass(frozen=True)
class JsonLines:
    """One JSON object in UTF-8 per line; keys are column names."""

    name: ClassVar[str] = "jsonl"
    media_type: ClassVar[str] = "application/x-ndjson"


Format = Csv | JsonLines

CSV = Csv()
"""CSV with a header, commas and double quotes."""
JSON_LINES = JsonLines()
"""An object of JSON in each line."""

_BY_SUFFIX: dict[str, Format] = {
    ".csv": CSV,
    ".tsv": Csv(delimiter="\t"),
    ".jsonl": JSON_LINES,
    ".ndjson": JSON_LINES,
}
_BY_MEDIA_TYPE: dict[str, Format] = {
    "text/csv": CSV,
    "application/x-ndjson": JSON_LINES,
    "application/jsonl": JSON_LINES,
    "application/jsonlines": JSON_LINES,
}

FILE_CONTENT: dict[str, Any] = {name: {"schema": {"type": "string"}} for name in _BY_MEDIA_TYPE}
"""What OpenAPI says of a file that is sent or received: the media types, and that it is text."""


def format_of_path(path: str | PurePath) -> Format:
    """The format that a file name's suffix stands for; raises ValueError."""
    suffix = PurePath(path).suffix.lower()
    if suffix not in _BY_SUFFIX:
        raise ValueError(
            f"{suffix or 'no suffix'!r} is no known format; use {', '.join(_BY_SUFFIX)}."
        )
    return _BY_SUFFIX[suffix]


def format_of_content_type(content_type: str) -> Format:
    """The format of a Content-Type header; raises BulkError, which answers 415."""
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    known = ", ".join(_BY_MEDIA_TYPE)
    reason = None if media_type in _BY_MEDIA_TYPE else f"The content type must be one of {known}."
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8", "us-ascii"):
            reason = reason or "The charset must be utf-8."
    if reason:
        raise BulkError(reason, status=415, headers={"accept-post": known})
    return _BY_MEDIA_TYPE[media_type]
