"""How the reaction network samples a video, and how its predictions become dense again (EEV 2021 secs. 3.2 and 4.2)."""

from __future__ import annotations

from itertools import product

import numpy as np
from matplotlib.figure import Figure

from utopia.figures import style
from utopia.figures.data import Inputs, Point

READS = ("summaries",)
_SECONDS = 4


def draw(inputs: Inputs) -> tuple[Figure, list[Point]]:
    """The rows of the labels, the steps that the network sees, and its predictions, in a video's first seconds."""
    figure = style.blank(2.2)
    axes = figure.subplots()
    if not inputs.summaries:
        reason = "; ".join(dict.fromkeys(inputs.absent_runs.values())) or "no network was trained"
        style.statement(axes, f"No network to draw:\n{reason}", width=50)
        return figure, [Point("", "absent", note=reason)]
    summary = next(iter(inputs.summaries.values()))
    clips = summary["settings"]["model_config"]["training"]["clips"]
    time_T = inputs.labels.times(next(iter(summary["items"])))
    dense = 1 / float(np.median(np.diff(time_T)))
    every = max(1, round(dense / clips["rate"]))
    shown = time_T[: round(_SECONDS * dense) + 1]
    step = shown[::every]
    seconds = clips["steps"] / clips["rate"]
    between = "" if every == 1 else ", linear between steps"
    axes.plot(shown, np.full(len(shown), 2.0), "|", color=style.BLACK, markersize=7, markeredgewidth=0.8)
    axes.plot(step, np.full(len(step), 1.0), "s", color=style.VERMILLION, markersize=4.5)
    axes.plot(shown, np.zeros(len(shown)), "o-", color=style.BLUE, markersize=2.4, linewidth=0.8)
    axes.plot(step, np.zeros(len(step)), "o", color=style.BLUE, markersize=4.5)
    said = {
        2.0: f"labels: {dense:.3g} per second",
        1.0: f"the network's steps: {clips['rate']:g} per second, {clips['steps']} to a clip ({seconds:g} s)",
        0.0: f"predictions: {dense:.3g} per second{between}",
    }
    for y, text in said.items():
        axes.text(0, y + 0.2, text, va="bottom", fontsize=7)
    for y, at in product((1.0, 0.0), step):
        # Arrows stand between a row and the words over the next one.
        look = {"arrowstyle": "-|>", "lw": 0.6, "mutation_scale": 5}
        axes.annotate("", (at, y + 0.52), (at, y + 0.86), arrowprops=look)
    axes.set(xlim=(-0.1, _SECONDS + 0.1), ylim=(-0.3, 2.55), yticks=[], xlabel="time (s)")
    axes.spines[["left"]].set_visible(False)
    return figure, [
        Point("", "label rows per second", None, dense),
        Point("", "steps per second", None, float(clips["rate"])),
        Point("", "steps of a clip", None, float(clips["steps"])),
        *(Point("", "label row", float(at)) for at in shown),
        *(Point("", "step", float(at)) for at in step),
    ]
