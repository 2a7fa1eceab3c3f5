"""The file formats that can be loaded and exported."""

from dataclasses import dataclass, fields
from pathlib import PurePath
from typing import Any, ClassVar


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


@dataclass(frozen=True)
class JsonLines:
    """One JSON object in UTF-8 per line; keys are column names."""

    name: ClassVar[str] = "jsonl"
    media_type: ClassVar[str] = "application/x-ndjson"


Format = Csv | JsonLines

CSV = Csv()
JSON_LINES = JsonLines()

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

MEDIA_TYPES = tuple(_BY_MEDIA_TYPE)


def format_of_path(path: str | PurePath) -> Format:
    """The format that a file name's suffix stands for; raises ValueError."""
    suffix = PurePath(path).suffix.lower()
    if suffix not in _BY_SUFFIX:
        raise ValueError(
            f"{suffix or 'no suffix'!r} is no known format; use {', '.join(_BY_SUFFIX)}."
        )
    return _BY_SUFFIX[suffix]


def format_of_content_type(content_type: str) -> Format:
    """The format of a Content-Type header; raises ValueError for any other and another charset."""
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if media_type not in _BY_MEDIA_TYPE:
        raise ValueError(f"The content type must be one of {', '.join(MEDIA_TYPES)}.")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8", "us-ascii"):
            raise ValueError("The charset must be utf-8.")
    return _BY_MEDIA_TYPE[media_type]
