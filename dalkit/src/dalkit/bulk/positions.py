"""Which line of the file COPY was at, when it is fed a translation with other line breaks."""

from array import array
from bisect import bisect_right


class Positions:
    """Remembers where the translation's lines and the file's rows part; both count from 1."""

    #: Partings to remember, 16 bytes each. What comes after them has no known row.
    LIMIT = 1_000_000

    def __init__(self) -> None:
        self.row = 0  # rows of the file that were translated
        self._line = 0  # lines of the translation
        self._lines = array("Q", [1])
        self._rows = array("Q", [1])

    def advance(self, rows: int, *, breaks: int = 0) -> None:
        """Count rows; `breaks` line breaks are inside of the last one."""
        self.row += rows
        self._line += rows + breaks
        if breaks:
            self._part()

    def skip(self) -> None:
        """Count a row of the file that is left out of the translation."""
        self.row += 1
        self._part()

    def row_of(self, line: int) -> int | None:
        """The row of the file that this line of the translation belongs to."""
        at = bisect_right(self._lines, line) - 1
        row = self._rows[at] + line - self._lines[at]
        if at + 1 < len(self._rows):
            return min(row, self._rows[at + 1] - 1)
        return row if len(self._rows) < self.LIMIT else None

    def _part(self) -> None:
        if self._lines[-1] == self._line + 1:
            self._rows[-1] = self.row + 1
        elif len(self._lines) < self.LIMIT:
            self._lines.append(self._line + 1)
            self._rows.append(self.row + 1)
