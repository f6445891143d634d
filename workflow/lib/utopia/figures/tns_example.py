"""From the label distribution of one movie to samples in feature space (TNS), as ULDA Fig. 3 draws it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from utopia import seeds
from utopia.distribution.item import ItemDistribution
from utopia.figures import style
from utopia.figures.data import (
    EXAMPLE_RULE,
    Inputs,
    LabelExample,
    Point,
    bin_edges,
    choose_example,
    label_name,
    occupied,
)

READS = ("features",)
OPTIONS = ("label", "samples")
DRAWS_SAMPLES = True
SAMPLES = 200
_INSIDE, _OUTSIDE, _NEW = style.VERMILLION, style.ORANGE, style.SKY
_BAND = "#CFEBDF"
"""A light green: where a label or a slice is marked behind the data."""


@dataclass(frozen=True)
class Window:
    """A slice of a video; `slice` and `window` are half-open frame ranges, `coefficient` [window] sums to 1."""

    slice: tuple[int, int]
    window: tuple[int, int]
    coefficient: NDArray[np.float64]

    @property
    def frames(self) -> NDArray[np.int64]:
        """Frames of the window."""
        return np.arange(*self.window)

    @property
    def in_slice(self) -> NDArray[np.bool_]:
        """Which of them belong to the slice."""
        return (self.frames >= self.slice[0]) & (self.frames < self.slice[1])


def draw(inputs: Inputs) -> tuple[Figure, list[Point]]:
    """(a) n, n~ and one label, with its frames in time; (b) a slice's window and contributions; (c) samples."""
    example = choose_example(inputs, _with_features(inputs))
    series = inputs.series(example.video)
    window = window_of(series, example.slice)
    figure = style.blank(6.6)
    grid = figure.add_gridspec(4, 2, height_ratios=(1.1, 0.9, 0.8, 0.8))
    points = [
        Point("", "video", note=example.video),
        Point("", "rule", note=EXAMPLE_RULE),
        *_distribution(figure.add_subplot(grid[0, :]), inputs, example, series),
        *_timeline(figure.add_subplot(grid[1, :]), inputs, example, series, window),
    ]
    above = figure.add_subplot(grid[2, 0])
    points += _window(above, inputs, example, window)
    points += _coefficients(figure.add_subplot(grid[3, 0], sharex=above), window)
    points += _features(figure.add_subplot(grid[2:, 1]), inputs, example.video, window)
    _legend(figure)
    return figure, points


def _with_features(inputs: Inputs) -> list[str] | None:
    """Training videos that have features; None where that restricts nothing or there are no features at all."""
    if inputs.features is None:
        return None
    names, train = inputs.feature_names, inputs.labels.folds[0]["train"]
    return [item for item in train if inputs.features.available(item, names) is None] or None


def window_of(series: ItemDistribution, index: int) -> Window:
    """A slice with its window and coefficients (ULDA sec. 3.3.2)."""
    first, last = (int(frame) for frame in series.window[index])
    slice_range = (int(series.slice[index, 0]), int(series.slice[index, 1]))
    return Window(slice_range, (first, last), series.coefficient[index, : last - first])


def _distribution(axes: Axes, inputs: Inputs, example: LabelExample, series: ItemDistribution) -> list[Point]:
    edges, shown = bin_edges(inputs.settings), occupied(series.count, series.utopia_count)
    window, label = edges[shown.start : shown.stop + 1], example.label
    axes.axvspan(edges[label], edges[label + 1], color=_BAND, lw=0, zorder=0)
    axes.stairs(series.count[shown], window, fill=True, color=style.LIGHT_RED, label="before, n")
    axes.stairs(series.utopia_count[shown], window, color=style.BLUE, linewidth=1.1, baseline=None, label="after, ñ")
    top = max(series.count.max(), series.utopia_count.max())
    middle = (edges[label] + edges[label + 1]) / 2
    axes.plot(
        middle, 1.1 * top, "v", color=style.GREEN, markersize=5, label=f"label {label_name(inputs.settings, label)}"
    )
    axes.set(xlim=(window[0], window[-1]), ylim=(0, 1.2 * top), xlabel=f"{inputs.target} label", ylabel="frames")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    style.title(axes, "a", f"label distribution of {inputs.title_of(example.video, 26)}", legend=3)
    return [
        Point("a", "label", float(middle), float(series.count[label]), note=label_name(inputs.settings, label)),
        Point("a", "samples added by TNS at the label", float(middle), float(series.samples_needed[label])),
        *(
            Point("a", name, float((edges[k] + edges[k + 1]) / 2), float(value))
            for name, values in (("n", series.count), ("n~", series.utopia_count))
            for k, value in enumerate(values)
        ),
    ]


def _timeline(
    axes: Axes, inputs: Inputs, example: LabelExample, series: ItemDistribution, window: Window
) -> list[Point]:
    """The labels over time, and where the frames of the one label lie."""
    times, label = inputs.labels.times(example.video), inputs.labels.label(example.video, inputs.target)
    edges, here = bin_edges(inputs.settings), series.bin == example.label
    axes.axhspan(edges[example.label], edges[example.label + 1], color=_BAND, lw=0, zorder=0)
    axes.plot(times, label, color=style.GREY, linewidth=0.8, zorder=1)
    axes.plot(times[here], label[here], "o", color=style.GREEN, markersize=3.2, markeredgewidth=0, zorder=2,
              label=f"{style.count(int(here.sum()), 'frame')} with the label")  # fmt: skip
    first, last = window.slice
    middle = float(times[first:last].mean())
    axes.plot(middle, float(label[first:last].max()), "v", color=_INSIDE, markersize=5, zorder=3, label="slice in (b)",
              transform=axes.transData + _lifted(axes))  # fmt: skip
    axes.set(xlim=(times[0], times[-1]), xlabel="time (s)", ylabel=f"{inputs.target} label")
    axes.margins(y=0.15)
    style.title(axes, "", "where these frames lie", legend=2)
    return [
        *(Point("a timeline", "label", float(t), float(y)) for t, y in zip(times, label, strict=True)),
        *(Point("a timeline", "frame with the label", float(t), float(y))
          for t, y in zip(times[here], label[here], strict=True)),
    ]  # fmt: skip


def _lifted(axes: Axes) -> ScaledTranslation:
    """A few points upwards, so that a pointer stands above what it points at."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return ScaledTranslation(0, 6 / 72, figure.dpi_scale_trans)


def _window(axes: Axes, inputs: Inputs, example: LabelExample, window: Window) -> list[Point]:
    label = inputs.labels.label(example.video, inputs.target)[window.frames]
    times = inputs.labels.times(example.video)[window.frames]
    offsets, inside = window.frames - window.slice[0], window.in_slice
    edges = bin_edges(inputs.settings)
    axes.axhspan(edges[example.label], edges[example.label + 1], color=_BAND, lw=0, zorder=0)
    axes.plot(offsets, label, color=style.GREY, linewidth=0.8, zorder=1)
    for mask, colour, marker, size in ((inside, _INSIDE, "o", 3.5), (~inside, _OUTSIDE, "s", 2.8)):
        axes.plot(offsets[mask], label[mask], marker, color=colour, markersize=size, markeredgecolor=style.BLACK,
                  markeredgewidth=0.3)  # fmt: skip
    axes.set(ylabel="label")
    axes.tick_params(labelbottom=False)
    frames = style.count(window.slice[1] - window.slice[0], "frame")
    style.title(axes, "b", f"slice of {frames}")
    return [
        Point("b", name, float(times[0]), None, float(first), float(last), "frames [low, high)")
        for name, (first, last) in (("slice", window.slice), ("window", window.window))
    ] + [
        Point("b", "label of the slice" if in_slice else "label of the extension", float(x), float(y))
        for x, y, in_slice in zip(offsets, label, inside, strict=True)
    ]


def _legend(figure: Figure) -> None:
    """What marks mean in (b) and (c), below both."""
    edge: dict[str, Any] = {"markeredgecolor": style.BLACK, "markeredgewidth": 0.4, "linestyle": "none"}
    handles = [
        Line2D([], [], color=_INSIDE, marker="o", **edge, label="frame of the slice"),
        Line2D([], [], color=_OUTSIDE, marker="s", **edge, label="frame of its extension"),
        Line2D([], [], color=_NEW, marker=".", linestyle="none", label="new sample"),
        Line2D([], [], color=style.BLUE, label="two standard deviations"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, columnspacing=1.5, handletextpad=0.5)


def _coefficients(axes: Axes, window: Window) -> list[Point]:
    """What each frame contributes (Eqs. 4 and 5)."""
    offsets, inside = window.frames - window.slice[0], window.in_slice
    for mask, colour, hatch in ((inside, _INSIDE, ""), (~inside, _OUTSIDE, "////")):
        axes.bar(offsets[mask], window.coefficient[mask], width=0.8, color=colour, hatch=hatch, edgecolor="white", lw=0)
    axes.set(xlabel="frame (0: first of slice)", ylabel="contribution")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return [
        Point("b", "contribution, slice" if in_slice else "contribution, extension", float(x), float(c))
        for x, c, in_slice in zip(offsets, window.coefficient, inside, strict=True)
    ]


def sample_features(
    window: NDArray[np.float64], coefficient: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """New features from N(mu, Sigma): mu + sum_i sqrt(c_i) eps_i (f_i - mu), eps_i ~ N(0, 1) (ULDA sec. 3.3, Eq. 6).

    Args:
        window: features f_i of the window's frames [L, D].
        coefficient: c_i [L], summing to 1.
        count: how many.
        rng: where the random numbers come from.

    Returns:
        [count, D].
    """
    mean = coefficient @ window
    return mean + (rng.standard_normal((count, len(window))) * np.sqrt(coefficient)) @ (window - mean)


def principal_plane(
    window: NDArray[np.float64], coefficient: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The plane of largest variance of N(mu, Sigma): mu [D], two axes [2, D], all axes' variances in descending order.

    The sign of an axis is chosen so that its largest component is positive.
    """
    mean = coefficient @ window
    _, scale, axes = np.linalg.svd(np.sqrt(coefficient)[:, None] * (window - mean), full_matrices=False)
    plane = axes[:2] if len(axes) > 1 else np.vstack([axes[:1], np.zeros_like(axes[:1])])
    signs = np.sign(plane[np.arange(2), np.abs(plane).argmax(axis=1)])
    return mean, plane * np.where(signs == 0, 1, signs)[:, None], scale**2


def _features(axes: Axes, inputs: Inputs, video: str, example: Window) -> list[Point]:
    reason = _no_features(inputs, video)
    if reason or inputs.features is None:
        style.title(axes, "c", "feature space")
        style.statement(axes, f"No features:\n{reason}", width=22)
        return [Point("c", "absent", note=reason)]
    times = inputs.labels.times(video)[example.frames]
    window = inputs.features.aligned(video, list(inputs.feature_names), times).astype(np.float64)
    mean, plane, variance = principal_plane(window, example.coefficient)
    rng = np.random.default_rng(seeds.derive(int(inputs.spec["seed"]), "figure", str(inputs.spec["id"]), video))
    count = int(inputs.options.get("samples", SAMPLES))
    new = (sample_features(window, example.coefficient, count, rng) - mean) @ plane.T
    old = (window - mean) @ plane.T
    radius = 2 * np.sqrt(np.append(variance, 0.0)[:2])
    unit, suffix = _unit(np.concatenate([new, old]))
    axes.scatter(new[:, 0] / unit, new[:, 1] / unit, s=3, color=_NEW, linewidths=0)
    ellipse = Ellipse((0, 0), *2 * radius / unit, fill=False, edgecolor=style.BLUE, linewidth=1.0)
    axes.add_patch(ellipse)
    points = []
    marks = ((example.in_slice, _INSIDE, "slice", "o"), (~example.in_slice, _OUTSIDE, "extension", "s"))
    for mask, colour, name, marker in marks:
        if not mask.any():
            continue
        size = 10 + 120 * example.coefficient[mask]
        axes.scatter(
            old[mask, 0] / unit,
            old[mask, 1] / unit,
            s=size,
            color=colour,
            marker=marker,
            edgecolors=style.BLACK,
            linewidths=0.5,
            zorder=3,
        )
        points += [Point("c", name, float(x), float(y)) for x, y in old[mask]]
    share = 100 * variance[:2].sum() / max(variance.sum(), np.finfo(float).tiny)
    axes.set(xlabel=f"PC 1{suffix}", ylabel=f"PC 2{suffix}")
    style.title(axes, "c", "feature space")
    return [
        *points,
        *[Point("c", "sample", float(x), float(y)) for x, y in new],
        Point("c", "2-sigma half axes of N(mu, Sigma)", float(radius[0]), float(radius[1])),
        Point("c", "share of variance in the plane, per cent", None, float(share)),
    ]


def _unit(values: NDArray[np.float64]) -> tuple[float, str]:
    """A power of ten that brings values near 1, and how an axis label says so; 1 where they are near already."""
    largest = float(np.abs(values).max())
    power = int(np.floor(np.log10(largest))) if largest > 0 else 0
    return (1.0, "") if -2 <= power <= 2 else (10.0**power, f" ($\\mathrm{{10^{{{power}}}}}$)")


def _no_features(inputs: Inputs, video: str) -> str:
    if inputs.features is None:
        return inputs.feature_reason or "this data set has annotations only"
    return inputs.features.available(video, list(inputs.feature_names)) or ""
