"""Predicted and true reactions of one video over time: the best, the middling and the worst of them."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from utopia.errors import ComputeError
from utopia.evaluation import metrics_csv
from utopia.figures import style
from utopia.figures.data import Inputs, Point

READS = ("summaries", "metrics")
Float = NDArray[np.float64]

VIDEO_RULE = (
    "the validation video whose correlation, mean over reactions and then over seeds, is the (lower) median; ties go "
    "by the official order"
)
REACTION_RULE = (
    "its reactions with the highest, the (lower) median and the lowest correlation, mean over seeds; ties go by the "
    "official order"
)
_PLACES = ("best", "median", "worst")
_METRIC = "correlation"


def draw(inputs: Inputs) -> tuple[Figure, list[Point]]:
    """One panel per reaction: label, predictions of every repeat, and their mean with the network's steps."""
    if not inputs.predictions:
        reason = "; ".join(dict.fromkeys(inputs.absent_runs.values())) or "no network was trained"
        figure = style.blank(1.3)
        style.statement(figure.subplots(), f"No predictions:\n{reason}", width=50)
        return figure, [Point("a", "absent", note=reason)]
    role = next(iter(inputs.predictions))
    fold, by_repeat = _of_items(inputs, role)
    video = median_of_videos(by_repeat, inputs.labels.items)
    columns = inputs.labels.columns[inputs.target]
    chosen = chosen_reactions({name: _over_repeats(by_repeat, video, f"{_METRIC}.{name}") for name in columns})
    figure = style.blank(1.2 + 1.25 * len(chosen))
    panels = np.atleast_1d(figure.subplots(len(chosen), 1, sharex=True))
    points = [
        Point("", "video", note=f"{video}, fold {fold}"),
        Point("", "rule", note=VIDEO_RULE),
        Point("", "rule of the reactions", note=REACTION_RULE),
    ]
    repeats = sorted(by_repeat, key=lambda repeat: (len(repeat), repeat))
    for letter, axes, (place, name) in zip("abc", panels, chosen.items(), strict=False):
        points += _panel(axes, letter, inputs, role, (fold, repeats, video), columns.index(name))
        r_R = np.array(_over_repeats(by_repeat, video, f"{_METRIC}.{name}"))
        spread = f" ± {_without_zero(r_R.std(ddof=1))}" if len(r_R) > 1 else ""
        style.title(axes, letter, f"{name} ({place}): r = {_without_zero(r_R.mean())}{spread}")
        points += [
            Point(letter, "reaction", note=f"{name}, {place}"),
            *(
                Point(letter, f"correlation, repeat {repeat}", None, float(r))
                for repeat, r in zip(repeats, r_R, strict=False)
            ),
        ]
    panels[-1].set_xlabel(f"time in the video {inputs.title_of(video)} (s)", parse_math=False)
    handles, texts = panels[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside upper center", ncols=2, columnspacing=1.2)
    return figure, points


def median_of_videos(by_repeat: dict[str, dict[str, dict[str, float]]], order: list[str]) -> str:
    """The video by `VIDEO_RULE`.

    Args:
        by_repeat: repeat -> video -> metric -> value.
        order: all videos in official order.

    Raises:
        ComputeError: no video has a correlation.
    """
    values = {item: _over_repeats(by_repeat, item, _METRIC) for item in order}
    known = {item: float(np.mean(r)) for item, r in values.items() if r}
    if not known:
        raise ComputeError("no validation video has a correlation: every series is constant")
    return sorted(known, key=lambda item: known[item])[(len(known) - 1) // 2]


def chosen_reactions(values: dict[str, list[float]]) -> dict[str, str]:
    """The reactions by `REACTION_RULE`, by their place; those that are the same stand once.

    Args:
        values: the correlations of each reaction over repeats; none where it is not defined.
    """
    known = {name: float(np.mean(r)) for name, r in values.items() if r}
    best = sorted(known, key=lambda name: -known[name])
    worst = min(known, key=lambda name: known[name])
    picked = {"best": best[0], "median": best[len(best) // 2], "worst": worst}
    return {place: picked[place] for place in _PLACES if picked[place] not in [picked[p] for p in _before(place)]}


def _before(place: str) -> tuple[str, ...]:
    return _PLACES[: _PLACES.index(place)]


def _of_items(inputs: Inputs, role: str) -> tuple[str, dict[str, dict[str, dict[str, float]]]]:
    """The first fold, and its items' metrics: repeat -> item -> metric -> value."""
    rows = [row for row in metrics_csv.read(inputs.metrics[role]) if row.item and row.target == inputs.target]
    folds = {row.fold for row in rows}
    fold = next((known["name"] for known in inputs.labels.folds if known["name"] in folds), None)
    if fold is None:
        raise ComputeError(f"no metrics of {inputs.target} in any fold", where=inputs.metrics[role])
    by_repeat: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        if row.fold == fold:
            by_repeat.setdefault(row.repeat, {}).setdefault(row.item, {})[row.metric] = row.value
    return fold, by_repeat


def _over_repeats(by_repeat: dict[str, dict[str, dict[str, float]]], item: str, metric: str) -> list[float]:
    """The values of a metric over the repeats, in their order, of those that have one."""
    order = sorted(by_repeat, key=lambda repeat: (len(repeat), repeat))
    return [by_repeat[repeat][item][metric] for repeat in order if metric in by_repeat[repeat].get(item, {})]


def _panel(
    axes: Axes, letter: str, inputs: Inputs, role: str, shown: tuple[str, list[str], str], column: int
) -> list[Point]:
    fold, repeats, video = shown
    stored = inputs.predictions[role]
    time_T = inputs.labels.times(video)
    truth_T = inputs.labels.evaluation(video, inputs.target)[:, column].astype(np.float64)
    curve_RT = np.array(
        [stored[f"{inputs.target}/{fold}/{repeat}/{video}"][:, column] for repeat in repeats], np.float64
    )
    mean_T = curve_RT.mean(axis=0)
    every = steps_between(inputs, role, time_T)
    axes.plot(time_T, truth_T, color=style.GREY, linewidth=0.7, label="label", zorder=1)
    for number, curve_T in enumerate(curve_RT):
        name = f"prediction, {len(repeats)} seeds" if number == 0 and len(repeats) > 1 else None
        axes.plot(time_T, curve_T, color=style.SKY, linewidth=0.6, label=name, zorder=2)
    name = "their mean" if len(repeats) > 1 else "prediction"
    axes.plot(time_T, mean_T, color=style.BLUE, linewidth=1.4, label=name, zorder=3)
    if every > 1:
        steps = time_T[::every], mean_T[::every]
        size = 3.2 if len(steps[0]) < 120 else 2.0
        name = "steps of the network"
        axes.plot(*steps, "o", color=style.VERMILLION, markersize=size, markeredgewidth=0, zorder=4, label=name)
    low, high = min(truth_T.min(), curve_RT.min()), max(truth_T.max(), curve_RT.max())
    room = 0.06 * (high - low or 1.0)
    axes.set(xlim=(time_T[0], time_T[-1]), ylim=(low - room, high + room))
    axes.set_ylabel("intensity")
    return [
        *(Point(letter, "label", float(t), float(y)) for t, y in zip(time_T, truth_T, strict=True)),
        *(
            Point(letter, "prediction", float(t), float(y), float(low), float(high), "mean and range over seeds")
            for t, y, low, high in zip(time_T, mean_T, curve_RT.min(axis=0), curve_RT.max(axis=0), strict=True)
        ),
        *(
            Point(letter, f"prediction, repeat {repeat}", float(t), float(y))
            for repeat, curve_T in zip(repeats, curve_RT, strict=True)
            for t, y in zip(time_T, curve_T, strict=True)
        ),
        *(Point(letter, "step", float(t), float(y)) for t, y in zip(time_T[::every], mean_T[::every], strict=True)),
    ]


def steps_between(inputs: Inputs, role: str, time_T: Float) -> int:
    """Rows of the labels from one step of the network to the next."""
    rate = float(inputs.summaries[role]["settings"]["model_config"]["training"]["clips"]["rate"])
    return max(1, round(1 / (rate * float(np.median(np.diff(time_T)))))) if len(time_T) > 1 else 1


def _without_zero(value: float) -> str:
    """A correlation with three decimals and without the zero before them."""
    return f"{value:.3f}".replace("0.", ".", 1).replace("-", "−")
