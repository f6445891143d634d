"""How well each reaction is predicted: correlation, deviation over repeats, interval over videos and repeats."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from utopia.evaluation import metrics_csv
from utopia.evaluation.uncertainty import Interval, interval, read_items
from utopia.figures import style
from utopia.figures.data import Inputs, Point

READS = ("summaries", "metrics")
_METRIC = "correlation"
_ALL = "mean of all"
_NAMES = {"l1": "L1", "ccc": "CCC", "l1_kl": "L1 + KL", "ensemble": "ensemble"}
_LOOKS = (
    (style.BLUE, "o"),
    (style.VERMILLION, "s"),
    (style.GREEN, "D"),
    (style.PURPLE, "^"),
)


@dataclass(frozen=True)
class Bar:
    """One reaction of one run: mean and deviation over repeats, and the interval over videos and repeats."""

    mean: float
    std: float | None
    repeats: int
    interval: Interval


def draw(inputs: Inputs) -> tuple[Figure, list[Point]]:
    """A row per reaction, best first as the first run has it, the mean of all above; a mark per run."""
    roles = list(inputs.metrics)
    if not roles:
        reason = "; ".join(dict.fromkeys(inputs.absent_runs.values())) or "no network was trained"
        figure = style.blank(2.0)
        style.statement(figure.subplots(), f"No predictions:\n{reason}", width=44)
        return figure, [Point("", "absent", note=reason)]
    columns = inputs.labels.columns[inputs.target]
    bars = {role: {name: bar(inputs, role, name) for name in (_ALL, *columns)} for role in roles}
    first = bars[roles[0]]
    order = [_ALL, *sorted(columns, key=lambda name: -_or_low(first[name]))]
    figure = style.blank(1.1 + 0.27 * len(order))
    axes = figure.subplots()
    points = []
    for number, role in enumerate(roles):
        shift = 0.22 * (number - (len(roles) - 1) / 2)
        points += _bars(axes, role, [bars[role][name] for name in order], order, shift, _LOOKS[number % len(_LOOKS)])
    _dress(axes, order, roles)
    return figure, points


def _or_low(shown: Bar | None) -> float:
    return -2.0 if shown is None else shown.mean


def bar(inputs: Inputs, role: str, name: str) -> Bar | None:
    """What the metrics file says of a reaction, or of all; None where it is defined for no video."""
    summary = inputs.summaries[role]
    metric = _METRIC if name == _ALL else f"{_METRIC}.{name}"
    items = read_items(inputs.metrics[role], summary["run"], inputs.target, metric)
    if isinstance(items, str):
        values = _own(inputs, role, metric)
        if not len(values):
            return None
        around = Interval(None, None, items)
    else:
        values, around = items.by_repeat, interval(items)
    return Bar(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None, len(values), around)


def _own(inputs: Inputs, role: str, metric: str) -> np.ndarray:
    """The replicas' own values: the mean over folds of each repeat [R]."""
    by_repeat: dict[str, list[float]] = {}
    for row in metrics_csv.read(inputs.metrics[role]):
        if row.target == inputs.target and not row.item and row.metric == metric:
            by_repeat.setdefault(row.repeat, []).append(row.value)
    return np.array([np.mean(values) for _, values in sorted(by_repeat.items())], np.float64)


def _bars(
    axes: Axes, role: str, bars: list[Bar | None], order: list[str], shift: float, look: tuple[str, str]
) -> list[Point]:
    colour, marker = look
    points = []
    for row, (name, bar) in enumerate(zip(order, bars, strict=True)):
        if bar is None:
            points.append(Point(role, name, note="the correlation is not defined for any video"))
            continue
        y, around = row + shift, bar.interval
        if around.low is not None and around.high is not None:
            axes.plot([around.low, around.high], [y, y], color=colour, linewidth=0.8, solid_capstyle="butt", zorder=2)
        if bar.std is not None:
            ends = [bar.mean - bar.std, bar.mean + bar.std]
            axes.plot(ends, [y, y], color=colour, linewidth=2.6, alpha=0.45, solid_capstyle="butt", zorder=2)
        axes.plot(bar.mean, y, marker, color=colour, markersize=3.2, markeredgewidth=0, zorder=3)
        points += [
            Point(role, name, bar.mean, float(row), around.low, around.high, around.method),
            Point(role, f"{name}, deviation over seeds", bar.std, None, note=f"{bar.repeats} seeds"),
        ]
    return points


def _dress(axes: Axes, order: list[str], roles: list[str]) -> None:
    axes.axvline(0, color=style.BLACK, linewidth=0.6, zorder=1)
    axes.axhline(0.5, color=style.GREY, linewidth=0.6, linestyle=(0, (4, 3)))
    for row in range(len(order)):
        if row % 2:
            axes.axhspan(row - 0.5, row + 0.5, color="#F4F4F4", lw=0, zorder=0)
    axes.set(ylim=(len(order) - 0.5, -0.5), xlabel="correlation, mean over validation videos")
    axes.set_yticks(range(len(order)), order)
    axes.tick_params(axis="y", length=0)
    runs = [
        Line2D([], [], color=colour, marker=marker, markersize=3.2, linewidth=0.8, label=_NAMES.get(role, role))
        for role, (colour, marker) in zip(roles, _LOOKS * len(roles), strict=False)
    ]
    marks = [
        Line2D([], [], color=style.GREY, linewidth=0.8, label="95 % interval"),
        Line2D([], [], color=style.GREY, linewidth=2.6, alpha=0.45, label="± deviation of seeds"),
    ]
    # A legend is filled column by column: runs come to stand above, what bars mean below.
    handles = [handle for pair in zip_longest(runs, marks) for handle in pair if handle is not None]
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.legend(
        handles=handles, loc="outside upper center", ncols=max(2, len(runs)), columnspacing=0.9, handletextpad=0.4
    )
