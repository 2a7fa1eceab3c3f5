"""JSON Lines as the CSV that COPY reads.

PostgreSQL itself would need two passes (COPY into a json column, then unpack it) and a third of
the speed.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping

from .csv_values import NULL, Kind, csv_value
from .errors import BulkError
from .json_object import members
from .json_shape import Shape
from .positions import Positions

#: Bytes that one line may have.
LIMIT = 16 * 1024 * 1024

#: How many sequences of keys are remembered.
SHAPES = 64

#: The end of a row. COPY counts line breaks inside of values, too, if they are of the kind that
#: ends the first row: texts rarely have a lone carriage return.
END = b"\r"


class JsonRows:
    """The rows of one file, in the order of `kinds`."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self._kinds = kinds
        self._shapes: dict[tuple[str, ...], Shape] = {}
        self.positions = Positions()

    async def csv(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The rows, some at a time; raises BulkError."""
        async for lines in whole_lines(pieces, lambda: self.positions.row):
            yield self._csv(lines)

    def _csv(self, lines: bytes) -> bytes:
        shape = self._shape(lines.partition(b"\n")[0])
        if rows := shape and shape.rows(lines):
            number = len(rows)
            rows.append(b"")
            text = END.join(rows)
            if b"\\" not in lines or text.count(END) == number:
                self.positions.advance(number)
                return text
        return b"".join(self._one_by_one(lines, shape))

    def _one_by_one(self, lines: bytes, shape: Shape | None) -> Iterator[bytes]:
        for line in lines.split(b"\n"):
            if not line.strip():
                self.positions.skip()
                continue
            rows = shape and shape.rows(line)
            row = (rows[0] if rows else self._row(line)) + END
            self.positions.advance(1, breaks=row.count(END) - 1)
            yield row

    def _shape(self, line: bytes) -> Shape | None:
        try:
            keys = tuple(key for key, _, _ in members(line.decode()))
        except ValueError:
            return None
        if not keys or len(set(keys)) != len(keys) or not self._kinds.keys() >= set(keys):
            return None
        if keys not in self._shapes:
            if len(self._shapes) == SHAPES:
                self._shapes.clear()
            self._shapes[keys] = Shape(keys, self._kinds)
        return self._shapes[keys]

    def _row(self, line: bytes) -> bytes:
        values = dict.fromkeys(self._kinds, NULL)
        seen = set[str]()
        try:
            for key, value, text in members(line.decode()):
                self._check(key, seen)
                if self._kinds[key] == "number" and type(value) is str:
                    raise self._bad("a number is written without quotes", key)
                values[key] = csv_value(value, text, self._kinds[key])
        except UnicodeDecodeError:
            raise self._bad("the line is not UTF-8") from None
        except ValueError as error:
            raise self._bad(f"not a JSON object: {error}") from None
        return b",".join(values.values())

    def _check(self, key: str, seen: set[str]) -> None:
        if key not in self._kinds:
            known = ", ".join(self._kinds)
            raise self._bad(f"the columns are {known}; there is no such column", key[:63])
        if key in seen:
            raise self._bad("the object has this key twice", key)
        seen.add(key)

    def _bad(self, reason: str, column: str | None = None) -> BulkError:
        return BulkError(reason, row=self.positions.row + 1, column=column)


async def whole_lines(
    pieces: AsyncIterator[bytes], taken: Callable[[], int] = lambda: 0
) -> AsyncIterator[bytes]:
    """Pieces that end where a line ends, without the last line break.

    Raises BulkError for a line that is too long; `taken` tells how many lines were before it.
    """
    kept: list[bytes] = []
    size = 0
    async for piece in pieces:
        head, found, tail = piece.rpartition(b"\n")
        if found:
            yield b"".join((*kept, head))
            kept, size = [], 0
        kept.append(tail)
        size += len(tail)
        if size > LIMIT:
            raise BulkError(f"the line is longer than {LIMIT} bytes", row=taken() + 1)
    if rest := b"".join(kept):
        yield rest
