"""What a label is made of, and what a model makes of it: votes on one sample, a predicted importance curve (Fig. 1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from utopia.distribution.convolve import convolve
from utopia.distribution.histogram import bin_index, bin_total, count_bins
from utopia.distribution.kernel import taps
from utopia.errors import ComputeError
from utopia.evaluation.interval import t_half_width
from utopia.evaluation.predictions import replicas_of
from utopia.figures import style
from utopia.figures.data import RULE, Inputs, Point, bin_centres, bin_edges, median_video, occupied

READS = ()
Float = NDArray[np.float64]

BASELINE = "baseline"
FRAME_RULE = (
    "of the steps on which annotators disagree, the one whose deviation over annotators is the (lower) median; of "
    "several, the middle one"
)
TEST_RULE = (
    "the test video of the first fold with predictions whose mean squared error without ULDA, mean over seeds, is the "
    "(lower) median"
)
_NAMES = {"baseline": "without ULDA", "cwl": "CWL", "tns_cwl": "with ULDA"}
_COLOURS = {"baseline": style.VERMILLION, "cwl": style.ORANGE, "tns_cwl": style.BLUE}
_DASHES = {"baseline": (0, (4, 1.5)), "cwl": (0, (4, 1, 1, 1)), "tns_cwl": (0, (1.5, 0.8))}
"""All predictions are dashed, as the paper's."""
_VALUES = 24
"""Votes with more different values than this are counted in bins."""


def draw(inputs: Inputs) -> tuple[Figure, list[Point]]:
    """Above the votes of all annotators on one sample, below one test video's label and predictions."""
    figure = style.blank(4.3)
    above, below = figure.subplots(2, 1)
    return figure, [*_sample(above, inputs), *_curves(below, inputs)]


def median_frame(votes: Float) -> int:
    """The step that stands for a video, by `FRAME_RULE`.

    Args:
        votes: [annotators, T].
    """
    spread = votes.std(axis=0)
    among = spread[spread > 0] if (spread > 0).any() else spread
    alike = np.flatnonzero(spread == np.sort(among)[(len(among) - 1) // 2])
    return int(alike[(len(alike) - 1) // 2])


def _sample(axes: Axes, inputs: Inputs) -> list[Point]:
    train = inputs.labels.folds[0]["train"]
    voted = [item for item in train if inputs.labels.votes(item, inputs.target) is not None]
    if not voted:
        reason = "this data set gives the mean of the annotators' votes only"
        style.title(axes, "a", "votes on one sample")
        style.statement(axes, f"No votes:\n{reason}", width=50)
        return [Point("a", "absent", note=reason)]
    video = median_video(inputs, voted)
    votes = np.asarray(inputs.labels.votes(video, inputs.target), np.float64)
    frame = median_frame(votes)
    vote_A, time = votes[:, frame], float(inputs.labels.times(video)[frame])
    label = float(inputs.labels.label(video, inputs.target)[frame])
    settings = inputs.settings
    values, share, width = _histogram(vote_A, inputs)
    axes.bar(values, share, width=width, color=style.SKY, label=style.count(len(vote_A), "vote"))
    count_b = count_bins(bin_index(np.array([label]), settings), bin_total(settings))
    utopia = 100 * np.asarray(convolve(count_b, taps(settings), settings.boundary), np.float64)
    shown, edges = occupied(utopia, margin=0), bin_edges(settings)
    axes.stairs(
        utopia[shown],
        edges[shown.start : shown.stop + 1],
        color=style.BLACK,
        linewidth=1.1,
        label="utopia label",
    )
    top = max(float(share.max()), float(utopia.max()))
    axes.plot([label, label], [0, 1.12 * top], color=style.VERMILLION, linewidth=1.3, label=f"label {label:.2f}")
    mean, half = float(vote_A.mean()), t_half_width(float(vote_A.std(ddof=1)), len(vote_A)) if len(vote_A) > 1 else 0.0
    axes.errorbar(
        mean, 1.06 * top, xerr=half, color=style.GREY, marker="o", markersize=3, capsize=2, linewidth=1.0,
        label="mean of all votes, 95 %",
    )  # fmt: skip
    low, high = inputs.settings.low, inputs.settings.high
    margin = 0.08 * (high - low)
    axes.set(xlim=(low - margin, high + margin), ylim=(0, 1.2 * top), xlabel=inputs.target, ylabel="share (%)")
    axes.set_yticks([tick for tick in MaxNLocator(nbins=5).tick_values(0, 1.1 * top) if tick <= min(100, 1.1 * top)])
    style.title(axes, "a", f"votes on {inputs.title_of(video, 30)}, {time:.0f} s", legend=2)
    return [
        Point("a", "video", note=video),
        Point("a", "rule", note=RULE),
        Point("a", "step rule", note=FRAME_RULE),
        Point("a", "step", float(frame), time, note="number and seconds"),
        *(Point("a", "vote", float(number), float(vote)) for number, vote in enumerate(vote_A)),
        *(Point("a", "share of votes, per cent", float(x), float(y)) for x, y in zip(values, share, strict=True)),
        Point("a", "label", label),
        Point("a", "mean of all annotators, 95 % t interval", mean, None, mean - half, mean + half),
        *(
            Point("a", "utopia label, per cent", float(x), float(y), float(edges[k]), float(edges[k + 1]), "bin edges")
            for k, (x, y) in enumerate(zip(bin_centres(settings), utopia, strict=True))
            if y > 0
        ),
    ]


def _histogram(vote_A: Float, inputs: Inputs) -> tuple[Float, Float, float]:
    """Where bars stand, their share of all votes in per cent, and their width: one bar per value, or per bin."""
    values, counts = np.unique(vote_A, return_counts=True)
    settings = inputs.settings
    if len(values) <= _VALUES:
        step = float(np.diff(values).min()) if len(values) > 1 else settings.high - settings.low
        return values, 100 * counts / len(vote_A), min(0.6 * step, 0.12 * (settings.high - settings.low))
    count = count_bins(bin_index(vote_A, settings), bin_total(settings))
    centres = bin_centres(settings)
    return centres, 100 * np.asarray(count, np.float64) / len(vote_A), 0.86 * float(centres[1] - centres[0])


def _curves(axes: Axes, inputs: Inputs) -> list[Point]:
    roles = [role for role in _NAMES if role in inputs.predictions]
    if BASELINE not in roles or len(roles) < 2:
        known = list(dict.fromkeys(inputs.absent_runs.values()))
        reason = "; ".join(known) or "a run with and one without ULDA are needed"
        style.title(axes, "b", "label and predictions of a test video")
        style.statement(axes, f"No predictions:\n{reason}", width=50)
        return [Point("b", "absent", note=reason)]
    fold, repeats, video = choose_test_video(inputs)
    times = inputs.labels.times(video)
    truth = inputs.labels.evaluation(video, inputs.target).astype(np.float64)
    cased = [withStroke(linewidth=2.4, foreground=style.BLACK)]
    axes.plot(times, truth, color=style.YELLOW, linewidth=1.4, label="ground truth", path_effects=cased, zorder=1)
    points = [
        Point("b", "video", note=f"{video}, fold {fold}"),
        Point("b", "rule", note=TEST_RULE),
        *(Point("b", "label", float(t), float(y)) for t, y in zip(times, truth, strict=True)),
    ]
    for role in (BASELINE, roles[-1]):
        curve_RT = _predicted(inputs, role, fold, repeats, video)
        mean_T = curve_RT.mean(axis=0)
        mse = float(((curve_RT - truth) ** 2).mean())
        axes.fill_between(
            times, curve_RT.min(axis=0), curve_RT.max(axis=0), color=_COLOURS[role], alpha=0.22, lw=0, zorder=2
        )
        axes.plot(
            times,
            mean_T,
            color=_COLOURS[role],
            linewidth=1.1,
            linestyle=_DASHES[role],
            zorder=3,
            label=f"{_NAMES[role]}, MSE {mse:.3f}",
        )
        points += [
            Point("b", role, float(t), float(y), float(low), float(high), "mean and range over seeds")
            for t, y, low, high in zip(times, mean_T, curve_RT.min(axis=0), curve_RT.max(axis=0), strict=True)
        ]
        points.append(Point("b", f"{role}, mean squared error", None, mse, note=f"mean over {len(repeats)} seeds"))
    axes.set(xlim=(times[0], times[-1]), xlabel="time (s)", ylabel=inputs.target)
    over = style.count(len(repeats), "seed")
    style.title(axes, "b", f"{inputs.title_of(video, 26)} (test), {over}", legend=1)
    return points


def choose_test_video(inputs: Inputs) -> tuple[str, list[str], str]:
    """The fold, its repeats and the video that panel (b) shows, by `TEST_RULE`.

    Raises:
        ComputeError: there are no predictions of the target in any fold.
    """
    items_of = {
        (fold, repeat): items
        for (target, fold, repeat), items in replicas_of(inputs.predictions[BASELINE]).items()
        if target == inputs.target
    }
    for fold in (known["name"] for known in inputs.labels.folds):
        repeats = sorted(
            (repeat for name, repeat in items_of if name == fold), key=lambda repeat: (len(repeat), repeat)
        )
        if not repeats:
            continue
        items = [item for item in inputs.labels.items if item in items_of[fold, repeats[0]]]
        errors = []
        for item in items:
            truth = inputs.labels.evaluation(item, inputs.target)
            errors.append(float(((_predicted(inputs, BASELINE, fold, repeats, item) - truth) ** 2).mean()))
        return fold, repeats, items[int(np.argsort(errors, kind="stable")[(len(items) - 1) // 2])]
    raise ComputeError(f"no predictions of {inputs.target}", where=inputs.predictions[BASELINE].path)


def _predicted(inputs: Inputs, role: str, fold: str, repeats: Sequence[str], video: str) -> Float:
    """Predictions of all repeats [R, T]."""
    stored = inputs.predictions[role]
    return np.array([stored[f"{inputs.target}/{fold}/{repeat}/{video}"] for repeat in repeats], np.float64)
