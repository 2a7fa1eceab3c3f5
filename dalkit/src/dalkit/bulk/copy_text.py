"""Rows as the text that COPY reads, checked by a model or as they are."""

import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy import ARRAY, JSON, Table
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.types import TypeEngine

from ..types import FROM_TEXT
from .staging import BAD_TEXT, BulkError, unknown_column

_NULL = r"\N"
_TO_ESCAPE = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}

#: How a column takes a value: as text, as the JSON itself, or as an array's text.
Kind = Literal["plain", "json", "array"]

Object = dict[str, Any]


class Number(str):
    """A number as it was written: no digit is lost and none is too many."""

    __slots__ = ()


_TEXTS = {str, Number}


class CopyText:
    """The text of rows for the columns of a table, and which row of the file each line is of."""

    def __init__(
        self, table: Table, model: type[BaseModel] | None = None, *, from_text: bool = False
    ) -> None:
        self._kinds = {column.name: _kind(column.type) for column in table.c}
        self._models = None if model is None else TypeAdapter(list[model])  # type: ignore[valid-type]
        self._context = FROM_TEXT if from_text else None
        #: Lines before, and rows, of what COPY was given last: it cannot be farther behind.
        self._last: deque[tuple[int, Sequence[int]]] = deque(maxlen=1000)
        self._lines = 0

    async def text(
        self, rows: AsyncIterator[tuple[Sequence[int], Sequence[Object]]]
    ) -> AsyncIterator[bytes]:
        """The lines for some rows at a time; raises BulkError."""
        async for numbers, objects in rows:
            if not objects:
                continue
            self._last.append((self._lines, numbers))
            self._lines += len(numbers)
            yield self._text(numbers, objects)

    def row_of(self, line: int) -> int | None:
        """The row of the file that a line is of, counted from 1."""
        for before, numbers in self._last:
            if before < line <= before + len(numbers):
                return numbers[line - before - 1]
        return None

    def _text(self, numbers: Sequence[int], objects: Sequence[Object]) -> bytes:
        try:
            checked = self._checked(objects)
            columns = [self._column(checked, name, kind) for name, kind in self._kinds.items()]
        except BulkError as error:
            for number, one in zip(numbers, objects, strict=True) if len(objects) > 1 else ():
                _ = self._text([number], [one])
            raise error.at(numbers[0]) from None
        lines = map("\t".join, zip(*columns, strict=True))
        return "".join([f"{line}\n" for line in lines]).encode()

    def _checked(self, objects: Sequence[Object]) -> Sequence[Object]:
        if self._models is None:
            for name in set[str]().union(*objects) - self._kinds.keys():
                raise unknown_column(name, self._kinds)
            return objects
        try:
            valid = self._models.validate_python(objects, context=self._context)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            column = str(first["loc"][1]) if len(first["loc"]) > 1 else None
            raise BulkError(first["msg"], column=column) from None
        dumped: list[Object] = self._models.dump_python(valid, mode="json", by_alias=True)
        return dumped

    def _column(self, objects: Sequence[Object], name: str, kind: Kind) -> list[str]:
        write = _WRITERS[kind]
        values: list[Any] = [one.get(name) for one in objects]
        texts: list[str]
        try:
            is_text = kind == "plain" and _TEXTS.issuperset(map(type, values))
            texts = values if is_text else ["" if v is None else write(v) for v in values]
            joined = "\0".join(texts)  # no value may have a NUL
            _ = joined.encode()  # nor a lone surrogate
        except UnicodeEncodeError:
            raise BulkError(BAD_TEXT, column=name) from None
        except ValueError as error:
            raise BulkError(str(error), column=name) from None
        if joined.count("\0") != len(texts) - 1:
            raise BulkError(BAD_TEXT, column=name)
        if any(character in joined for character in _TO_ESCAPE):
            for character, escaped in _TO_ESCAPE.items():
                joined = joined.replace(character, escaped)
            texts = joined.split("\0")
        if None in values:
            return [_NULL if v is None else text for v, text in zip(values, texts, strict=True)]
        return texts


def _kind(type_: TypeEngine[Any]) -> Kind:
    if isinstance(type_, DOMAIN):
        return _kind(type_.data_type)
    if isinstance(type_, JSON):
        return "json"
    return "array" if isinstance(type_, ARRAY) else "plain"


def _json(value: Any) -> str:
    if isinstance(value, str):
        return value if isinstance(value, Number) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_json(key)}:{_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _array(value: Any) -> str:
    if not isinstance(value, list):
        return _plain(value)
    return "{" + ",".join(map(_element, value)) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return _array(value)
    if isinstance(value, dict):
        raise ValueError("an array cannot hold an object")
    escaped = _plain(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_WRITERS: Mapping[Kind, Callable[[Any], str]] = {"plain": _plain, "json": _json, "array": _array}


def written_names(model: type[BaseModel]) -> list[str]:
    """The names that a model is written with."""
    fields = model.model_fields.items()
    names = [field.serialization_alias or name for name, field in fields if not field.exclude]
    return [*names, *(f.alias or name for name, f in model.model_computed_fields.items())]
