"""How well variants of RMN answer what depends on a cue far back, and how they use their memory (`docs/rmn.md`)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utopia.evaluation import metrics_csv
from utopia.figures import style
from utopia.figures.data import Inputs, Point

READS = ("summaries", "metrics")
CHANCE = 0.36
"""Mean squared error of answering 0 where labels are +0.6 or -0.6."""
_TITLES = {
    "one_cue": "one cue, from 90 s",
    "two_cues": "two cues, from 90 s",
    "long_delay": "one cue, from 150 s",
}
_USES = {"writes": "share of writes", "entropy": "entropy of choices", "query": "reads differ by query"}
_LOOKS = ((style.BLUE, "o"), (style.VERMILLION, "s"), (style.GREEN, "D"))


def draw(inputs: Inputs) -> tuple[Figure, list[Point]]:
    """A panel of errors for each target, a dot for each repeat and a line at the mean; then the use of the memory."""
    roles = [role for role in inputs.metrics if role not in inputs.absent_runs]
    if not roles:
        figure = style.blank(1.3)
        reasons = "; ".join(sorted(set(inputs.absent_runs.values())))
        style.statement(figure.subplots(), f"No runs:\n{reasons}", width=50)
        return figure, [Point("", "absent", note=reasons)]
    targets = sorted(inputs.labels.targets, key=lambda name: list(_TITLES).index(name) if name in _TITLES else 99)
    figure, points = style.blank(1.35 * (len(targets) + 1)), []
    panels = figure.subplots(len(targets) + 1, 1)
    for letter, axes, target in zip("abcdefgh", panels, targets, strict=False):
        points += _errors(axes, letter, target, {role: errors(inputs, role, target) for role in roles})
    points += _uses(panels[-1], "abcdefgh"[len(targets)], inputs, roles)
    return figure, points


def errors(inputs: Inputs, role: str, target: str) -> dict[str, float]:
    """Mean squared error of each repeat, over the labels that count."""
    read = metrics_csv.read(inputs.metrics[role])
    return {row.repeat: row.value for row in read if (row.target, row.item, row.metric) == (target, "", "mse")}


def _errors(axes: Axes, letter: str, target: str, by_role: dict[str, dict[str, float]]) -> list[Point]:
    points = []
    for place, (role, of_repeat) in enumerate(reversed(by_role.items())):
        values = list(of_repeat.values())
        axes.scatter(values, [place] * len(values), s=12, color=style.BLUE, alpha=0.7, linewidths=0, zorder=3)
        axes.plot([np.mean(values)] * 2, [place - 0.35, place + 0.35], color=style.VERMILLION, linewidth=1.3, zorder=2)
        points += [Point(letter, f"{target}: {role}", repeat, value) for repeat, value in of_repeat.items()]
    axes.axvline(CHANCE, color=style.GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axes.set_yticks(range(len(by_role)), [role.replace("_", " ") for role in reversed(by_role)])
    axes.set_xscale("log")
    axes.set_xlim(3e-4, 2)
    axes.set_ylim(-0.6, len(by_role) - 0.4)
    axes.set_xlabel("mean squared error" if target == list(_TITLES)[-1] else "")
    style.title(axes, letter, _TITLES.get(target, target.replace("_", " ")))
    return [*points, Point(letter, f"{target}: chance", None, CHANCE)]


def _uses(axes: Axes, letter: str, inputs: Inputs, roles: list[str]) -> list[Point]:
    points = []
    for (name, title), (colour, marker) in zip(_USES.items(), _LOOKS, strict=True):
        for place, role in enumerate(reversed(roles)):
            said = [replica.get("diagnostics", {}).get(name) for replica in inputs.summaries[role]["replicas"]]
            values = [value for value in said if value is not None]
            if values:
                label = title if place == len(roles) - 1 else None
                axes.scatter([np.mean(values)], [place], s=16, color=colour, marker=marker, label=label, zorder=3)
                points.append(Point(letter, title, role, float(np.mean(values)), min(values), max(values)))
    axes.set_yticks(range(len(roles)), [role.replace("_", " ") for role in reversed(roles)])
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.6, len(roles) - 0.4)
    style.title(axes, letter, "use of the memory", legend=1)
    return points
