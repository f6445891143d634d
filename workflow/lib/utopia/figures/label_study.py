"""How near estimates come to the utopia distribution, by the number of annotators behind a label."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utopia.config import registry
from utopia.evaluation.label_study import ANNOTATORS, MEASURES
from utopia.evaluation.metrics import TITLES
from utopia.evaluation.uncertainty import interval, read_items
from utopia.figures import style
from utopia.figures.data import Inputs, Point

READS = ("metrics",)
OPTIONS = ("bins",)
ACROSS = True
LOOKS = {
    "as_is": ("labels as they are", style.GREY, "o", "-"),
    "ulda": ("ULDA", style.VERMILLION, "s", "-"),
    "ulda_best": ("ULDA, best setting", style.ORANGE, "s", (0, (2, 1))),
    "kde": ("kernel density", style.GREEN, "^", (0, (4, 1))),
    "calibrated": ("calibrated", style.BLUE, "D", "-"),
    "calibrated_others": ("calibrated to the judges", style.SKY, "D", (0, (2, 1))),
}
"""By estimator: its name, colour, marker and line."""


def panel_name(role: str) -> str:
    """`tvsum.importance` in words; a target that is the only one of its data set goes without saying."""
    dataset, _, target = role.partition(".")
    name = registry.title("datasets", dataset)
    return name if target == "importance" else f"{name}, {target}"


def draw(inputs: Inputs) -> tuple[Figure, list[Point]]:
    """A row of two panels, correlation and Wasserstein distance, for each target of each data set."""
    roles = [role for role in inputs.metrics if role not in inputs.absent_runs]
    absent = [Point("", role, note=reason) for role, reason in inputs.absent_runs.items()]
    if not roles:
        return nothing(inputs)
    figure, points = style.blank(0.55 + 1.12 * len(roles)), []
    panels = figure.subplots(len(roles), 2, squeeze=False)
    for row, role in enumerate(roles):
        for axes, measure in zip(panels[row], MEASURES, strict=True):
            points += _lines(axes, inputs, role, measure)
            style.title(axes, "", panel_name(role) if measure == MEASURES[0] else "")
            axes.set_ylabel(TITLES[measure])
            axes.set_xlabel("annotators k" if row == len(roles) - 1 else "")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, columnspacing=1.0, handletextpad=0.5)
    return figure, [*points, *absent]


def nothing(inputs: Inputs) -> tuple[Figure, list[Point]]:
    """The statement that no data set could be studied, and why."""
    figure = style.blank(1.3)
    reasons = "; ".join(sorted(set(inputs.absent_runs.values()))) or "no data set with single annotators' votes"
    style.statement(figure.subplots(), f"No runs:\n{reasons}", width=50)
    return figure, [Point("", "absent", note=reasons)]


def _lines(axes: Axes, inputs: Inputs, role: str, measure: str) -> list[Point]:
    points = []
    bins, path, target = int(inputs.options.get("bins", 10)), inputs.metrics[role], role.partition(".")[2]
    for number, (estimator, (label, colour, marker, line)) in enumerate(LOOKS.items()):
        shown = []
        for place, k in enumerate(ANNOTATORS):
            items = read_items(path, role, target, f"{measure}.b{bins}.k{k}.{estimator}")
            if isinstance(items, str):
                continue
            around = interval(items)
            value = float(items.by_repeat.mean())
            shown.append((place + 0.07 * (number - 2.5), value, around.low, around.high))
            points.append(Point(f"{role}: {TITLES[measure]}", estimator, float(k), value, around.low, around.high))
        x, y = [each[0] for each in shown], [each[1] for each in shown]
        axes.plot(x, y, color=colour, marker=marker, linestyle=line, linewidth=0.9, markersize=2.6, label=label)
        for at, _, low, high in shown:
            if low is not None and high is not None:
                axes.plot([at, at], [low, high], color=colour, linewidth=0.5, alpha=0.6)
    axes.set_xticks(range(len(ANNOTATORS)), [str(k) for k in ANNOTATORS])
    axes.set_xlim(-0.4, len(ANNOTATORS) - 0.6)
    drawn = [value for point in points for value in (point.y, point.low, point.high) if isinstance(value, float)]
    lowest, highest = (min(drawn), max(drawn)) if drawn else (0.0, 1.0)
    pad = 0.06 * (highest - lowest) or 0.1
    axes.set_ylim(lowest - pad, highest + pad)
    return points
