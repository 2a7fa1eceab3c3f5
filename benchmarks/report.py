"""Results as Markdown, and the file that keeps them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """\
# Results

Written by `make bench`. Every number is measured beside its reference in the same run, in turns; a
ratio is the median of the rounds, with the range behind it. Compare ratios, not times.
"""


@dataclass(frozen=True)
class Table:
    """A table with its caption."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        """Return it as Markdown."""
        rule = ["---"] + ["---:"] * (len(self.columns) - 1)
        lines = [f"| {' | '.join(cells)} |" for cells in (self.columns, rule, *self.rows)]
        return "\n".join([f"**{self.caption}**", "", *lines])


@dataclass(frozen=True)
class Plot:
    """Bars: for each of `groups` one of each series."""

    title: str
    unit: str
    groups: Sequence[str]
    series: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Growth:
    """Lines over a size, each by its first point, beside one that grows as the size does."""

    title: str
    unit: str
    sizes: Sequence[int]
    series: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Result:
    """What one group of benchmarks found."""

    name: str
    title: str
    notes: Sequence[str]
    tables: Sequence[Table]
    plot: Plot | None = field(default=None)
    #: More of them, each by the name of its file.
    growths: Mapping[str, Growth] = field(default_factory=dict)

    def section(self, about: str) -> str:
        """Return it as a section of RESULTS.md; `about` tells when and on what."""
        plots = {self.name: self.plot} if self.plot else self.growths
        pictures = [f"![{plot.title}](plots/{name}.svg)" for name, plot in plots.items()]
        lines = [" ".join(note.split()) for note in (*self.notes, about)]
        notes = "\n".join(f"- {line}" for line in lines)
        return "\n\n".join([f"## {self.title}", notes, *pictures, *map(str, self.tables)])


def update(text: str, sections: Sequence[str]) -> str:
    """Return the file with these sections in the place of those with the same heading."""
    known = {part.partition("\n")[0]: part for part in text.strip().split("\n## ")[1:]}
    for section in sections:
        part = section.removeprefix("## ").strip()
        known[part.partition("\n")[0]] = part
    return "\n".join([HEAD, *(f"## {part.strip()}\n" for part in known.values())])
