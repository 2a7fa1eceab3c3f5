"""Numbers of rounds to one line: the median, and the range beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Spread:
    """Median, least and most of the rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return that of at least one value."""
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        """Return `0.42 (0.40 to 0.44)`, with two or three digits that count."""
        return f"{short(self.median)} ({short(self.least)} to {short(self.most)})"


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Return the ratios round by round; both were measured in the same rounds."""
    return Spread.of([a / b for a, b in zip(above, below, strict=True)])


def short(value: float) -> str:
    """Return the number with as many digits as a reader needs."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
