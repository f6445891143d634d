"""What the convolution asks of each label: samples that TNS adds, or weights that CWL lowers (beyond ULDA Fig. 2)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utopia.distribution.item import ItemDistribution
from utopia.figures import style
from utopia.figures.data import EXAMPLE_RULE, Inputs, Point, bin_centres, bin_edges, choose_example, occupied

READS = ()
OPTIONS = ("label",)
ADD, LOWER, EMPTY = style.BLUE, style.VERMILLION, style.GREY
_MOST_LINES = 24
"""Labels up to which their edges are drawn."""


def draw(inputs: Inputs) -> tuple[Figure, list[Point]]:
    """Above the labels over time with the time slices, below the change that the convolution asks for."""
    video = choose_example(inputs).video
    series, label = inputs.series(video), inputs.labels.label(video, inputs.target)
    figure = style.blank(4.0)
    above, below = figure.subplots(2, 1)
    points = [Point("", "video", note=video), Point("", "rule", note=EXAMPLE_RULE)]
    points += _labels(above, inputs, video, label, series)
    points += _change(below, inputs, series)
    return figure, points


def _colours(series: ItemDistribution) -> np.ndarray:
    """By bin: blue where samples are short, vermillion where there are too many, grey where there is none."""
    short = series.utopia_count > series.count
    return np.where(series.count > 0, np.where(short, ADD, LOWER), EMPTY)


def _labels(axes: Axes, inputs: Inputs, video: str, label: np.ndarray, series: ItemDistribution) -> list[Point]:
    times = inputs.labels.times(video)
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    axes.step(times, label, where="post", color=style.PALE, linewidth=0.8, zorder=1)
    size = 5 if len(label) < 600 else 2
    for colour, marker in ((LOWER, "o"), (ADD, "D")):
        here = _colours(series)[series.bin] == colour
        axes.scatter(times[here], label[here], s=size, c=colour, marker=marker, linewidths=0, zorder=2)
    edges = bin_edges(inputs.settings)
    shown = occupied(np.bincount(series.bin, minlength=len(series.count)).astype(float))
    if shown.stop - shown.start <= _MOST_LINES:
        for edge in edges[shown.start : shown.stop + 1]:
            axes.axhline(edge, color=style.PALE, linewidth=0.4, zorder=0)
    low, high = edges[shown.start], edges[shown.stop]
    strip = 0.06 * (high - low)
    axes.set(xlim=(times[0] - step, times[-1] + step), ylim=(low - 2.2 * strip, high))
    for index, (first, last) in enumerate(series.slice):
        end = times[last] if last < len(times) else times[-1] + step
        shade = style.GREY if index % 2 else style.PALE
        axes.fill_between([times[first], end], low - 1.8 * strip, low - 0.8 * strip, color=shade, linewidth=0)
    slices = style.count(len(series.slice), "time slice")
    style.title(axes, "a", f"{inputs.title_of(video, 28)}: {slices} (strip)")
    axes.set(xlabel="time (s)", ylabel=f"{inputs.target} label")
    return [Point("a", "label", float(t), float(y)) for t, y in zip(times, label, strict=True)] + [
        Point(
            "a", "time slice", float(times[first]), float(label[first]), float(first), float(last), "frames [low, high)"
        )
        for first, last in series.slice
    ]


def _change(axes: Axes, inputs: Inputs, series: ItemDistribution) -> list[Point]:
    settings = inputs.settings
    centres, edges = bin_centres(settings), bin_edges(settings)
    width, shown = edges[1] - edges[0], occupied(series.count, series.utopia_count)
    change, colours = series.utopia_count - series.count, _colours(series)
    empty = (series.count == 0) & (change > 0)
    inside = np.isin(np.arange(len(change)), np.arange(shown.start, shown.stop))
    for here, name, look in (
        (colours == ADD, f"TNS adds samples ({int(series.samples_needed.sum())})", {"color": ADD}),
        (colours == LOWER, "CWL lowers weights", {"color": LOWER, "hatch": "////", "edgecolor": style.LIGHT_RED}),
        (empty, "no frame to sample from", {"facecolor": "none", "edgecolor": EMPTY, "linestyle": (0, (2, 1))}),
    ):
        if (here & inside).any():
            axes.bar(
                centres[here & inside], change[here & inside], width=0.86 * width, label=name, linewidth=0.5, **look
            )
    axes.axhline(0, color=style.BLACK, linewidth=0.6)
    axes.set(xlim=(edges[shown.start], edges[shown.stop]), xlabel=f"{inputs.target} label", ylabel="frames")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    style.title(axes, "b", "required change ñ − n", legend=2)
    notes = {ADD: "TNS adds samples", LOWER: "CWL lowers weights", EMPTY: "no frame in this bin"}
    return [
        Point("b", "n~ - n", float(x), float(y), note=notes[str(c)])
        for x, y, c in zip(centres, change, colours, strict=True)
    ] + [
        Point("b", "samples added by TNS", float(x), float(q))
        for x, q in zip(centres, series.samples_needed, strict=True)
    ]
