"""From the labels of one video to what the convolution asks for at each label (ULDA Fig. 2)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utopia.distribution.kernel import taps
from utopia.distribution.series import Series
from utopia.outputs import figure_style as style
from utopia.outputs.figure_data import RULE, Inputs, Point, bin_centres, bin_edges, median_video, occupied

ADD, LOWER, EMPTY = style.BLUE, style.VERMILLION, style.GREY


def draw(inputs: Inputs) -> tuple[Figure, list[Point]]:
    """Four panels: the label series with its time slices, n, n~ over n with the kernel, and n~ - n."""
    video = median_video(inputs)
    series, label = inputs.series(video), inputs.labels.label(video, inputs.target)
    figure = style.blank(4.5)
    (top_left, top_right), (low_left, low_right) = figure.subplots(2, 2)
    points = [Point("", "video", note=video), Point("", "rule", note=RULE)]
    points += _labels(top_left, inputs, video, label, series)
    points += _histogram(top_right, inputs, series)
    points += _convolved(low_left, inputs, series)
    top_right.set_ylim(low_left.get_ylim())
    points += _change(low_right, inputs, series)
    return figure, points


def _colours(series: Series) -> np.ndarray:
    """By bin: blue where samples are short, vermillion where there are too many, grey where there is none."""
    short = series.utopia_count > series.count
    colours = np.where(short, ADD, LOWER)
    return np.where(series.count > 0, colours, EMPTY)


def _labels(axes: Axes, inputs: Inputs, video: str, label: np.ndarray, series: Series) -> list[Point]:
    times = inputs.labels.times(video)
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    axes.step(times, label, where="post", color=style.PALE, linewidth=0.8, zorder=1)
    axes.scatter(times, label, s=5 if len(label) < 600 else 2, c=_colours(series)[series.bin], linewidths=0, zorder=2)
    edges = bin_edges(inputs.settings)
    shown = occupied(np.bincount(series.bin, minlength=len(series.count)).astype(float))
    if shown.stop - shown.start <= 24:
        for edge in edges[shown.start : shown.stop + 1]:
            axes.axhline(edge, color=style.PALE, linewidth=0.4, zorder=0)
    low, high = edges[shown.start], edges[shown.stop]
    strip = 0.06 * (high - low)
    axes.set(xlim=(times[0] - step, times[-1] + step), ylim=(low - 2.2 * strip, high))
    for index, (first, last) in enumerate(series.slice):
        end = times[last] if last < len(times) else times[-1] + step
        shade = style.GREY if index % 2 else style.PALE
        axes.fill_between([times[first], end], low - 1.8 * strip, low - 0.8 * strip, color=shade, linewidth=0)
    style.title(axes, "a", f"{video}, {len(series.slice)} time slices (strip)")
    axes.set(xlabel="time (s)", ylabel=f"{inputs.target} label")
    return [Point("a", "label", float(t), float(y)) for t, y in zip(times, label, strict=True)] + [
        Point(
            "a", "time slice", float(times[first]), float(label[first]), float(first), float(last), "frames [low, high)"
        )
        for first, last in series.slice
    ]


def _histogram(axes: Axes, inputs: Inputs, series: Series) -> list[Point]:
    centres, width, shown = _bars(inputs, series)
    axes.bar(centres[shown], series.count[shown], width=0.86 * width, color=style.SKY)
    style.title(axes, "b", "label histogram $n_k$")
    _axis(axes, inputs, shown)
    axes.set(ylabel="frames")
    return [Point("b", "n", float(x), float(n)) for x, n in zip(centres, series.count, strict=True)]


def _convolved(axes: Axes, inputs: Inputs, series: Series) -> list[Point]:
    centres, width, shown = _bars(inputs, series)
    axes.bar(centres[shown], series.count[shown], width=0.86 * width, color=style.SKY, label="$n_k$")
    axes.stairs(
        series.utopia_count[shown],
        bin_edges(inputs.settings)[shown.start : shown.stop + 1],
        color=style.BLACK,
        linewidth=1.1,
        label=r"$\tilde{n}_k$",
        baseline=None,
    )
    tops = np.maximum(series.count[shown], series.utopia_count[shown])
    # The kernel goes to the side that has less below it.
    left = tops[: len(tops) // 2].sum() < tops[len(tops) // 2 :].sum()
    axes.set_ylim(0, 1.12 * tops.max())
    inset = axes.inset_axes((0.06 if left else 0.70, 0.42, 0.27, 0.30))
    kernel = taps(inputs.settings)
    offsets = (np.arange(len(kernel)) - len(kernel) // 2) * width
    fine = np.linspace(offsets[0] - width, offsets[-1] + width, 121)
    peak = kernel[len(kernel) // 2]
    inset.plot(fine, peak * np.exp(-0.5 * (fine / inputs.settings.sigma) ** 2), color=style.GREY, linewidth=0.8)
    inset.vlines(offsets, 0, kernel, color=style.BLACK, linewidth=1.6)
    inset.set(xticks=offsets[[0, -1]], yticks=[], ylim=(0, 1.15 * peak))
    inset.set_xticklabels([f"−{offsets[-1]:g}", f"+{offsets[-1]:g}"])
    inset.set_title("kernel", fontsize=7, loc="center", pad=2)
    inset.spines["left"].set_visible(False)
    axes.legend(loc="upper left" if left else "upper right", ncols=2, borderaxespad=0.1, columnspacing=1.0)
    style.title(axes, "c", r"convolved count $\tilde{n}_k$ over $n_k$")
    _axis(axes, inputs, shown)
    axes.set(ylabel="frames")
    return [Point("c", "kernel", float(x), float(g)) for x, g in zip(offsets, kernel, strict=True)] + [
        Point("c", "n~", float(x), float(n)) for x, n in zip(centres, series.utopia_count, strict=True)
    ]


def _change(axes: Axes, inputs: Inputs, series: Series) -> list[Point]:
    centres, width, shown = _bars(inputs, series)
    change, colours = series.utopia_count - series.count, _colours(series)
    empty = series.count == 0
    for mask, colour, name in (
        (~empty & (change > 0), ADD, f"TNS adds samples ({int(series.need.sum())})"),
        (~empty & (change <= 0), LOWER, "CWL lowers weights"),
    ):
        axes.bar(centres[shown][mask[shown]], change[shown][mask[shown]], width=0.86 * width, color=colour, label=name)
    if (empty & (change > 0))[shown].any():
        here = (empty & (change > 0))[shown]
        axes.bar(
            centres[shown][here],
            change[shown][here],
            width=0.86 * width,
            facecolor="none",
            edgecolor=EMPTY,
            linestyle=(0, (2, 1)),
            label="no frame: cannot be filled",
        )
    axes.axhline(0, color=style.BLACK, linewidth=0.6)
    span = change[shown].max() - change[shown].min()
    axes.set_ylim(change[shown].min() - 0.08 * span, change[shown].max() + 0.42 * span)
    axes.legend(loc="upper left", borderaxespad=0.1, labelspacing=0.25)
    style.title(axes, "d", r"required change $\tilde{n}_k - n_k$")
    _axis(axes, inputs, shown)
    axes.set(ylabel="frames")
    notes = {ADD: "TNS adds samples", LOWER: "CWL lowers weights", EMPTY: "no frame in this bin"}
    return [
        Point("d", "n~ - n", float(x), float(y), note=notes[str(c)])
        for x, y, c in zip(centres, change, colours, strict=True)
    ] + [Point("d", "samples added by TNS", float(x), float(q)) for x, q in zip(centres, series.need, strict=True)]


def _bars(inputs: Inputs, series: Series) -> tuple[np.ndarray, float, slice]:
    settings = inputs.settings
    width = (settings.high - settings.low) / settings.bins
    return bin_centres(settings), width, occupied(series.count, series.utopia_count)


def _axis(axes: Axes, inputs: Inputs, shown: slice) -> None:
    edges = bin_edges(inputs.settings)
    axes.set(xlim=(edges[shown.start], edges[shown.stop]), xlabel=f"{inputs.target} label")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
