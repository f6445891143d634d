"""One time slice, its window, the coefficients of its frames and the samples that TNS draws from it (ULDA Fig. 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from utopia import seeds
from utopia.distribution.series import Series
from utopia.outputs import figure_style as style
from utopia.outputs.figure_data import RULE, Inputs, Point, bin_edges, median_video

SAMPLES = 200
SLICE_RULE = (
    "of the slices of two frames or more in bins that TNS adds samples to, the one of (lower) median length; "
    "of several, the (lower) median one in time"
)
_INSIDE, _OUTSIDE, _NEW = style.VERMILLION, style.ORANGE, style.SKY


@dataclass(frozen=True)
class Example:
    """A slice of a video; `slice` and `window` are half-open frame ranges, `coefficient` [window] sums to 1."""

    video: str
    index: int
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
    """Three panels: the slice and its window in the label series, the coefficients, the features and samples."""
    video = median_video(inputs, _with_features(inputs))
    example = choose_slice(video, inputs.series(video))
    figure = style.blank(2.6)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.25, 1, 1.15))
    points = [Point("", "video", note=video), Point("", "rule", note=RULE), Point("", "slice rule", note=SLICE_RULE)]
    points += _window(left, inputs, example)
    points += _coefficients(middle, inputs, example)
    points += _features(right, inputs, example)
    return figure, points


def _with_features(inputs: Inputs) -> list[str] | None:
    """Training videos that have features; None where that restricts nothing or there are no features at all."""
    if inputs.features is None:
        return None
    names, train = inputs.feature_names, inputs.labels.folds[0]["train"]
    return [item for item in train if inputs.features.available(item, names) is None] or None


def choose_slice(video: str, series: Series) -> Example:
    """The slice that the figure shows, by `SLICE_RULE`; of all slices where no slice qualifies."""
    length = series.slice[:, 1] - series.slice[:, 0]
    asked = (series.need[series.slice_bin] > 0) & (length > 1)
    candidates = np.flatnonzero(asked) if asked.any() else np.arange(len(length))
    order = candidates[np.argsort(length[candidates], kind="stable")]
    median = length[order[(len(order) - 1) // 2]]
    alike = candidates[length[candidates] == median]
    index = int(alike[(len(alike) - 1) // 2])
    first, last = (int(frame) for frame in series.window[index])
    return Example(
        video,
        index,
        (int(series.slice[index, 0]), int(series.slice[index, 1])),
        (first, last),
        series.coefficient[index, : last - first],
    )


def _window(axes: Axes, inputs: Inputs, example: Example) -> list[Point]:
    times, label = inputs.labels.times(example.video), inputs.labels.label(example.video, inputs.target)
    length = example.window[1] - example.window[0]
    shown = np.arange(max(0, example.window[0] - 2 * length), min(len(label), example.window[1] + 2 * length))
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    for (first, last), colour, name in (
        (example.window, _OUTSIDE, f"window, {length} frames"),
        (example.slice, _INSIDE, f"time slice, {example.slice[1] - example.slice[0]} frames"),
    ):
        axes.axvspan(times[first] - step / 2, times[last - 1] + step / 2, color=colour, alpha=0.3, lw=0, label=name)
    axes.plot(times[shown], label[shown], color=style.BLACK, linewidth=0.8, marker="o", markersize=2.2)
    edges = bin_edges(inputs.settings)
    low, high = label[shown].min(), label[shown].max()
    room = max(high - low, edges[1] - edges[0])
    for edge in edges[(edges >= low - room) & (edges <= high + room)]:
        axes.axhline(edge, color=style.PALE, linewidth=0.5, zorder=0)
    axes.set(ylim=(low - 0.15 * room, high + 0.5 * room), xlabel="time (s)", ylabel=f"{inputs.target} label")
    axes.legend(loc="upper left", borderaxespad=0.1, labelspacing=0.25)
    style.title(axes, "a", f"{example.video}: slice and window")
    spans = [
        Point("a", name, float(times[first]), None, float(first), float(last), "frames [low, high)")
        for name, (first, last) in (("slice", example.slice), ("window", example.window))
    ]
    return spans + [Point("a", "label", float(times[t]), float(label[t])) for t in shown]


def _coefficients(axes: Axes, inputs: Inputs, example: Example) -> list[Point]:
    label = inputs.labels.label(example.video, inputs.target)[example.frames]
    offsets = example.frames - example.slice[0]
    for mask, colour, name in ((example.in_slice, _INSIDE, "slice"), (~example.in_slice, _OUTSIDE, "extension")):
        if mask.any():
            axes.bar(offsets[mask], example.coefficient[mask], width=0.8, color=colour, label=name)
    equal = f"1/{len(offsets)}"
    axes.axhline(1 / len(offsets), color=style.BLACK, linewidth=0.8, linestyle=(0, (4, 2)), label=equal)
    axes.set_ylim(0, 1.3 * example.coefficient.max())
    axes.set(xlabel="frame, from the slice's first", ylabel="coefficient $c_i$")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper left", borderaxespad=0.1, ncols=3, columnspacing=0.8, handletextpad=0.4)
    style.title(axes, "b", "coefficients $c_i$")
    return [
        Point("b", "slice" if inside else "extension", float(x), float(c), note=f"label {y!r}")
        for x, c, y, inside in zip(offsets, example.coefficient, map(float, label), example.in_slice, strict=True)
    ]


def sample_features(
    window: NDArray[np.float64], coefficient: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """New features from N(mu, Sigma): mu + sum_i sqrt(c_i) eps_i (f_i - mu), eps_i ~ N(0, 1) (ULDA sec. 3.3.2, Eq. 6).

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


def _features(axes: Axes, inputs: Inputs, example: Example) -> list[Point]:
    reason = _no_features(inputs, example.video)
    if reason or inputs.features is None:
        style.title(axes, "c", "features, two PCs")
        style.statement(axes, f"No features:\n{reason}", width=36)
        return [Point("c", "absent", note=reason)]
    times = inputs.labels.times(example.video)[example.frames]
    window = inputs.features.aligned(example.video, list(inputs.feature_names), times).astype(np.float64)
    mean, plane, variance = principal_plane(window, example.coefficient)
    rng = np.random.default_rng(seeds.derive(0, "figure", str(inputs.spec["id"]), example.video))
    count = int(inputs.options.get("samples", SAMPLES))
    new = (sample_features(window, example.coefficient, count, rng) - mean) @ plane.T
    old = (window - mean) @ plane.T
    radius = 2 * np.sqrt(np.append(variance, 0.0)[:2])
    unit, suffix = _unit(np.concatenate([new, old]))
    axes.scatter(new[:, 0] / unit, new[:, 1] / unit, s=4, color=_NEW, alpha=0.7, linewidths=0, label=f"{count} samples")
    ellipse = Ellipse((0, 0), *2 * radius / unit, fill=False, edgecolor=style.BLUE, linewidth=1.0, label="2σ")
    axes.add_patch(ellipse)
    points = []
    for mask, colour, name in ((example.in_slice, _INSIDE, "slice"), (~example.in_slice, _OUTSIDE, "extension")):
        size = 10 + 120 * example.coefficient[mask]
        axes.scatter(
            old[mask, 0] / unit,
            old[mask, 1] / unit,
            s=size,
            color=colour,
            edgecolors=style.BLACK,
            linewidths=0.5,
            zorder=3,
            label=name,
        )
        points += [Point("c", name, float(x), float(y)) for x, y in old[mask]]
    share = 100 * variance[:2].sum() / max(variance.sum(), np.finfo(float).tiny)
    bottom, top = axes.get_ylim()
    axes.set(xlabel=f"PC 1{suffix}", ylabel=f"PC 2{suffix}", ylim=(bottom, top + 0.38 * (top - bottom)))
    axes.legend(loc="upper left", borderaxespad=0.1, ncols=2, columnspacing=0.8, labelspacing=0.25, handletextpad=0.4)
    style.title(axes, "c", f"features, two PCs ({share:.0f} %)")
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
