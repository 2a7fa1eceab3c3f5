"""One small picture per group."""

from pathlib import Path

import matplotlib as mpl

from .report import Plot

FOLDER = Path(__file__).with_name("plots")
COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#9d755d", "#72b7b2", "#e45756", "#bab0ac")


def draw(plot: Plot, file: Path) -> None:
    """Write the bars as SVG; the same numbers give the same bytes."""
    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": plot.title, "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot  # noqa: PLC0415 - after the backend was chosen

    figure, axes = pyplot.subplots(figsize=(7, 3), layout="constrained")
    width = 0.8 / len(plot.series)
    for i, (name, values) in enumerate(plot.series.items()):
        places = [group + i * width for group in range(len(plot.groups))]
        colour = COLOURS[i % len(COLOURS)]
        bars = axes.bar(places, values, width, label=name, color=colour)
        axes.bar_label(bars, fmt="%.2f", fontsize=5.5, padding=1)
    axes.set_xticks([group + 0.4 - width / 2 for group in range(len(plot.groups))], plot.groups)
    axes.set_ylabel(plot.unit)
    axes.set_title(plot.title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, format="svg", metadata={"Date": None})
    pyplot.close(figure)
