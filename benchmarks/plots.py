"""Small pictures of what the groups found."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl

from .report import Growth, Plot

FOLDER = Path(__file__).with_name("plots")
COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#9d755d", "#72b7b2", "#e45756", "#bab0ac")


def draw(plot: Plot, file: Path) -> None:
    """Write the bars as SVG; the same numbers give the same bytes."""
    with _axes(plot.title, file) as axes:
        width = 0.8 / len(plot.series)
        for i, (name, values) in enumerate(plot.series.items()):
            places = [group + i * width for group in range(len(plot.groups))]
            colour = COLOURS[i % len(COLOURS)]
            bars = axes.bar(places, values, width, label=name, color=colour)
            axes.bar_label(bars, fmt="%.2f", fontsize=5.5, padding=1)
        middle = 0.4 - width / 2
        axes.set_xticks([group + middle for group in range(len(plot.groups))], plot.groups)
        axes.set_ylabel(plot.unit)


def draw_growth(growth: Growth, file: Path) -> None:
    """Write the lines as SVG, over logarithmic axes; the same numbers give the same bytes."""
    with _axes(growth.title, file) as axes:
        sizes = growth.sizes
        linear = [size / sizes[0] for size in sizes]
        axes.plot(sizes, linear, "--", color=COLOURS[-1], label="linear")
        for i, (name, values) in enumerate(growth.series.items()):
            ratios = [value / values[0] for value in values]
            axes.plot(sizes, ratios, "o-", color=COLOURS[i], label=name)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.set_xticks([], minor=True)
        axes.set_xlabel(growth.unit)
        axes.set_ylabel("by the first")


@contextmanager
def _axes(title: str, file: Path) -> Iterator[Any]:
    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": title, "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot  # noqa: PLC0415 - after the backend was chosen

    figure, axes = pyplot.subplots(figsize=(7, 3), layout="constrained")
    yield axes
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, format="svg", metadata={"Date": None})
    pyplot.close(figure)
