"""From the labels of one movie to the approximated utopia label distribution, as ULDA Fig. 2 draws it."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from utopia.distribution.item import ItemDistribution
from utopia.distribution.kernel import taps
from utopia.figures import style
from utopia.figures.data import (
    EXAMPLE_RULE,
    Inputs,
    Point,
    bin_centres,
    bin_edges,
    choose_example,
    label_name,
    occupied,
)

READS = ()
OPTIONS = ("label",)
_AROUND = 10
"""Bins to both sides of the label that panel (c) shows: its kernel is three of a hundred bins wide."""
_MOST_TERMS = 3


def draw(inputs: Inputs) -> tuple[Figure, list[Point]]:
    """Four panels: labels over time, their distribution n, the kernel at one label, and n~ over n."""
    example = choose_example(inputs)
    series = inputs.series(example.video)
    figure = style.blank(6.0)
    over_time, original, kernel, convolved = figure.subplots(4, 1)
    points = [
        Point("", "video", note=example.video),
        Point("", "rule", note=EXAMPLE_RULE),
        *_labels(over_time, inputs, example.video),
        *_original(original, inputs, series),
        *_kernel(kernel, inputs, series, example.label),
        *_convolved(convolved, inputs, series),
    ]
    original.set_ylim(convolved.get_ylim())
    return figure, points


def _labels(axes: Axes, inputs: Inputs, video: str) -> list[Point]:
    times, label = inputs.labels.times(video), inputs.labels.label(video, inputs.target)
    axes.plot(times, label, color=style.BLACK, linewidth=0.8)
    axes.set(xlim=(times[0], times[-1]), xlabel="time (s)", ylabel=f"{inputs.target} label")
    style.title(axes, "a", f"labels of {inputs.title_of(video)}")
    return [Point("a", "label", float(t), float(y)) for t, y in zip(times, label, strict=True)]


def _original(axes: Axes, inputs: Inputs, series: ItemDistribution) -> list[Point]:
    shown = occupied(series.count, series.utopia_count)
    _bars(axes, inputs, series, shown)
    _axis(axes, inputs, shown)
    style.title(axes, "b", "original label distribution n")
    centres = bin_centres(inputs.settings)
    return [Point("b", "n", float(x), float(n)) for x, n in zip(centres, series.count, strict=True)]


def _kernel(axes: Axes, inputs: Inputs, series: ItemDistribution, label: int) -> list[Point]:
    """The kernel over the distribution, and the bins that it gathers at one label (Eq. 2)."""
    settings, kernel = inputs.settings, taps(inputs.settings)
    reach, total = len(kernel) // 2, len(series.count)
    near = slice(max(0, label - max(_AROUND, reach)), min(total, label + max(_AROUND, reach) + 1))
    gathered = slice(max(0, label - reach), min(total, label + reach + 1))
    _bars(axes, inputs, series, near)
    _bars(axes, inputs, series, gathered, colour=style.VERMILLION)
    _axis(axes, inputs, near)
    axes.set_ylim(0, 1.15 * max(1.0, float(series.count[near].max())))
    centres, edges = bin_centres(settings), bin_edges(settings)
    width, peak = edges[1] - edges[0], float(kernel[reach])
    scale = axes.twinx()
    fine = np.linspace(-(reach + 1) * width, (reach + 1) * width, 121)
    scale.plot(centres[label] + fine, peak * np.exp(-0.5 * (fine / settings.sigma) ** 2), color=style.GREEN, lw=1.2,
               path_effects=[withStroke(linewidth=2.2, foreground="white")])  # fmt: skip
    inside = np.arange(gathered.start, gathered.stop)
    tap = kernel[inside - label + reach]
    scale.plot(centres[inside], tap, "o", color=style.GREEN, markeredgecolor=style.BLACK, markeredgewidth=0.4)
    scale.set(ylim=(0, 1.15 * peak), yticks=np.unique(kernel.round(12))[-2:])
    scale.set_yticklabels([f"{tick:.2f}" for tick in scale.get_yticks()])
    scale.tick_params(axis="y", colors=style.GREEN, pad=1)
    scale.spines[["right"]].set(visible=True, color=style.GREEN)
    # At the ends of the label range the boundary rule adds to this sum; the file's own n~ is written.
    value = f"{series.utopia_count[label]:.2f}"
    terms = " + ".join(f"{g:.2f}·{n:g}" for g, n in zip(tap, series.count[gathered], strict=True))
    exact = np.isclose(tap @ series.count[gathered], series.utopia_count[label])
    said = f"ñ = {terms} = {value}" if len(tap) <= _MOST_TERMS and exact else f"ñ = {value}"
    scale.set_ylabel("kernel", color=style.GREEN)
    style.title(axes, "c", f"kernel at the label {label_name(settings, label)}:\n{said}")
    return [
        *(Point("c", "kernel", float(x), float(g)) for x, g in zip((inside - label) * width, tap, strict=True)),
        *(Point("c", "gathered n", float(centres[k]), float(series.count[k])) for k in inside),
        Point("c", "label", float(centres[label]), note=label_name(settings, label)),
        Point("c", "n~ at the label", float(centres[label]), float(series.utopia_count[label])),
    ]


def _convolved(axes: Axes, inputs: Inputs, series: ItemDistribution) -> list[Point]:
    shown = occupied(series.count, series.utopia_count)
    _bars(axes, inputs, series, shown, name="n")
    edges = bin_edges(inputs.settings)[shown.start : shown.stop + 1]
    axes.stairs(series.utopia_count[shown], edges, color=style.BLUE, linewidth=1.1, label="ñ", baseline=None)
    _axis(axes, inputs, shown)
    axes.set_ylim(0, 1.05 * max(series.count.max(), series.utopia_count.max()))
    style.title(axes, "d", "convolved distribution ñ over n", legend=2)
    centres = bin_centres(inputs.settings)
    return [Point("d", "n~", float(x), float(n)) for x, n in zip(centres, series.utopia_count, strict=True)]


def _bars(
    axes: Axes, inputs: Inputs, series: ItemDistribution, shown: slice, *, colour: str = style.LIGHT_RED, name: str = ""
) -> None:
    centres, edges = bin_centres(inputs.settings), bin_edges(inputs.settings)
    axes.bar(
        centres[shown], series.count[shown], width=0.9 * (edges[1] - edges[0]), color=colour, label=name or None
    )  # fmt: skip


def _axis(axes: Axes, inputs: Inputs, shown: slice) -> None:
    edges = bin_edges(inputs.settings)
    axes.set(xlim=(edges[shown.start], edges[shown.stop]), xlabel=f"{inputs.target} label", ylabel="frames")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
