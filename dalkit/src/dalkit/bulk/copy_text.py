"""Rows as the text that COPY reads, checked by a model or as they are."""

import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy import ARRAY, JSON, Table
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.types import TypeEngine

from ..types import FROM_TEXT
from .json_lines import object_of
from .plain_lines import PlainLines, is_utf8
from .staging import BAD_TEXT, BulkError, Object, unknown_column

#: Lines that COPY is given at a time.
LINES = 500
#: Places where rows and lines part that are remembered; COPY is never so many behind.
PLACES = 50_000

_REFUSED = re.compile("[\0\ud800-\udfff]")
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class CopyText:
    """The text of rows for the columns of a table, and which row of the file each line is of."""

    def __init__(
        self, table: Table, model: type[BaseModel] | None = None, *, from_text: bool = False
    ) -> None:
        self._writers = {column.name: _writer(column.type) for column in table.c}
        self._plain = PlainLines(table)
        self._model = model
        self._context = FROM_TEXT if from_text else None
        #: From which line on the rows are how many ahead: blank lines, values with line breaks.
        self._ahead = deque([(1, 0)], maxlen=PLACES)

    async def of_rows(self, rows: AsyncIterator[tuple[int, Object]]) -> AsyncIterator[bytes]:
        """The lines for objects and their rows, some at a time; raises BulkError."""
        lines: list[str] = []
        number = 0
        async for row, values in rows:
            number += 1
            lines.append(self._line(values, row))
            self._place(number, row)
            if len(lines) == LINES:
                yield ("\n".join(lines) + "\n").encode()
                lines.clear()
        if lines:
            yield ("\n".join(lines) + "\n").encode()

    async def of_json(self, blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The lines for blocks of JSON Lines, one block at a time; raises BulkError.

        It gives what `of_rows` gives for the objects in them, and looks at most lines once.
        """
        row = number = 0
        async for block in blocks:
            lines: list[bytes] = []
            at, find = 0, self._plain.find if is_utf8(block) else _nothing
            while at < len(block):
                row += 1
                if (found := find(block, at)) is not None:
                    line, at = found
                    lines.append(line)
                    continue
                start, at = at, block.index(b"\n", at) + 1
                written = block[start : at - 1]
                if (values := object_of(written, row)) is None:
                    self._place(number + len(lines) + 1, row + 1)  # the next one, if there is one
                else:
                    lines.append(self._line(values, row).encode())
                    self._plain.learn(written, values)
            number += len(lines)
            if lines:
                yield b"\n".join(lines) + b"\n"

    def _place(self, number: int, row: int) -> None:
        first, by = self._ahead[-1]
        if row - number != by:
            if first == number:
                self._ahead.pop()
            self._ahead.append((number, row - number))

    def row_of(self, line: int) -> int | None:
        """The row of the file that a line is of, counted from 1; None when it is long past."""
        return next((line + by for first, by in reversed(self._ahead) if first <= line), None)

    def _line(self, values: Object, row: int) -> str:
        try:
            return self._text(values)
        except BulkError as error:
            raise error.at(row) from None

    def _text(self, values: Object) -> str:
        if self._model is not None:
            values = self._checked(self._model, values)
        elif not values.keys() <= self._writers.keys():
            name = next(name for name in values if name not in self._writers)
            raise unknown_column(name, self._writers)
        texts: list[str] = []
        for name, write in self._writers.items():
            value = values.get(name)
            if value is None:
                texts.append(r"\N")
                continue
            try:
                text = write(value)
            except ValueError as error:
                raise BulkError(str(error), column=name) from None
            if not text.isprintable() or "\\" in text:
                if _REFUSED.search(text):
                    raise BulkError(BAD_TEXT, column=name)
                for character, escaped in _ESCAPES.items():
                    text = text.replace(character, escaped)
            texts.append(text)
        return "\t".join(texts)

    def _checked(self, model: type[BaseModel], values: Object) -> Object:
        try:
            valid = model.model_validate(values, context=self._context)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            column = str(first["loc"][0]) if first["loc"] else None
            raise BulkError(first["msg"], column=column) from None
        return valid.model_dump(mode="json", by_alias=True)


def _nothing(block: bytes, at: int) -> None:
    """Used in place of `PlainLines.find` where nothing is plain."""


def _writer(type_: TypeEngine[Any]) -> Callable[[Any], str]:
    if isinstance(type_, DOMAIN):
        return _writer(type_.data_type)
    if isinstance(type_, JSON):
        return _json
    return _array if isinstance(type_, ARRAY) else _plain


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    """JSON with its numbers as they were written, which json.dumps() would write anew."""
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False)
        case dict():
            return "{" + ",".join(f"{_json(key)}:{_json(it)}" for key, it in value.items()) + "}"
        case list():
            return "[" + ",".join(map(_json, value)) + "]"
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
    return str(value)


def _array(value: Any) -> str:
    return "{" + ",".join(map(_element, value)) + "}" if isinstance(value, list) else _plain(value)


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return _array(value)
    if isinstance(value, dict):
        raise ValueError("an array cannot hold an object")
    escaped = _plain(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
