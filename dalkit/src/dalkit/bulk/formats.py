"""The file formats that can be loaded and exported, and the records of CSV."""

import re
from array import array
from codecs import getincrementaldecoder
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import PurePath
from typing import Any, ClassVar

from .staging import BAD_TEXT, BulkError, unknown_column

#: Bytes that a header may have, and characters that a record may have which a model validates.
HEADER_LIMIT = 64 * 1024
RECORD_LIMIT = 1024 * 1024
#: Characters that are read before the records so far are looked at.
CHUNK = 64 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

#: A record of CSV: its values, of which None is NULL.
CsvRecord = list[str | None]


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

    def split(
        self, text: str, *, final: bool, most: int | None = None
    ) -> list[tuple[CsvRecord, int]]:
        """The records, at most so many, at the beginning of `text`, each with its end.

        What is not `final` may go on: its last record is left out. So is, with all after it, what
        is no record.
        """
        records: list[tuple[CsvRecord, int]] = []
        values: CsvRecord = []
        at, size = 0, len(text)
        while at < size and len(records) != most:
            found = self._value.match(text, at)
            if found is None:
                break
            quoted, plain, end = found.groups()
            if found.end() == size and not (final or end.endswith("\n")):
                break
            values.append(self._plain(plain) if quoted is None else self._quoted(quoted))
            at = found.end()
            if end != self.delimiter:
                records.append((values, at))
                values = []
        if final and values and at == size:  # the text ends with a delimiter
            records.append(([*values, self._plain("")], at))
        return records

    def _plain(self, value: str) -> str | None:
        return None if value == self.null else value

    def _quoted(self, value: str) -> str:
        escape = self.escape or self.quote
        return value if escape not in value else self._escape.sub(r"\1", value)

    @cached_property
    def _escape(self) -> re.Pattern[str]:
        escape, quote = re.escape(self.escape or self.quote), re.escape(self.quote)
        return re.compile(f"{escape}([{quote}{escape}])")

    @cached_property
    def _value(self) -> re.Pattern[str]:
        """A value, in quotes or not, and what ends it."""
        quote, delimiter = re.escape(self.quote), re.escape(self.delimiter)
        escape = re.escape(self.escape or self.quote)
        text, escaped = f"[^{quote}{escape}]*+", escape + (quote if escape == quote else ".")
        return re.compile(
            rf"(?:{quote}({text}(?:{escaped}{text})*+){quote}|([^{quote}{delimiter}\r\n]*+))"
            rf"({delimiter}|\r\n?|\n|\Z)",
            re.DOTALL,
        )


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
    if media_type not in _BY_MEDIA_TYPE:
        raise _unsupported(f"The content type must be one of {', '.join(_BY_MEDIA_TYPE)}.")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8", "us-ascii"):
            raise _unsupported("The charset must be utf-8.")
    return _BY_MEDIA_TYPE[media_type]


def _unsupported(reason: str) -> BulkError:
    return BulkError(reason, status=415, headers={"accept-post": ", ".join(_BY_MEDIA_TYPE)})


async def read_header(pieces: AsyncIterator[bytes], form: Csv) -> tuple[list[str], bytes, int]:
    """The names in the first row, the bytes taken so far without a byte order mark, and how many
    of them are the header's. Raises BulkError.
    """
    taken = b""
    records: list[tuple[CsvRecord, int]] = []
    try:
        async for piece in pieces:
            taken = (taken + piece).removeprefix(_BYTE_ORDER_MARK)
            if records := form.split(taken.decode("latin-1"), final=False, most=1):
                break
            if len(taken) > HEADER_LIMIT:
                break
        if not taken.strip():
            raise BulkError("the file is empty")
        if not records and len(taken) <= HEADER_LIMIT:
            records = form.split(taken.decode("latin-1"), final=True, most=1)
        names, end = records[0] if records else ([], len(taken))
        if end > HEADER_LIMIT:
            raise BulkError(f"the header is longer than {HEADER_LIMIT} bytes", row=1)
        if not names:
            raise BulkError("the header cannot be read", row=1)
        return [(name or "").encode("latin-1").decode() for name in names], taken, end
    except UnicodeDecodeError:
        raise BulkError("the header is not UTF-8", row=1) from None


async def read_records(
    pieces: AsyncIterator[bytes], form: Csv, names: Sequence[str], row: int
) -> AsyncIterator[tuple[Sequence[int], list[dict[str, str | None]]]]:
    """The records by `names`, some at a time, each with its last row in the file; the first one is
    after `row`. Raises BulkError.
    """

    text, looked_at = "", 0

    def take(*, final: bool) -> tuple[Sequence[int], list[dict[str, str | None]]]:
        nonlocal row, text
        start, rows, records = 0, array("Q"), []
        for values, end in form.split(text, final=final):
            row += text.count("\n", start, end) or text.count("\r", start, end) or 1
            if len(values) != len(names):
                few = "fewer" if len(values) < len(names) else "more"
                raise BulkError(f"there are {few} values than columns", row=row)
            rows.append(row)
            records.append(dict(zip(names, values, strict=True)))
            start = end
        text = text[start:]
        if text and (final or len(text) > RECORD_LIMIT):
            raise BulkError("the row cannot be read", row=row + 1)
        return rows, records

    decoder = getincrementaldecoder("utf-8")()
    async for piece in pieces:
        try:
            text += decoder.decode(piece)
        except UnicodeDecodeError as error:
            breaks = text.count("\n") + error.object.count(b"\n", 0, error.start)
            raise BulkError(BAD_TEXT, row=row + breaks + 1) from None
        if len(text) > looked_at + CHUNK:
            yield take(final=False)
            looked_at = len(text)
    yield take(final=True)


def check_header(names: Collection[str], known: Collection[str], required: Collection[str]) -> None:
    """Raise BulkError when a name is unknown, doubled or missing."""
    seen: set[str] = set()
    for name in names:
        if name not in known:
            raise unknown_column(name, known, row=1)
        if name in seen:
            raise BulkError("the header has this column twice", row=1, column=name)
        seen.add(name)
    for name in required:
        if name not in seen:
            raise BulkError("the header lacks this column", row=1, column=name)
