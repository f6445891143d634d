"""What ULDA's two settings, delta and sigma, do on real labels: every setting that was tried, against none."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from utopia.evaluation import metrics_csv
from utopia.evaluation.label_study import MEASURES, PUBLISHED, REACHES, WIDTHS
from utopia.evaluation.metrics import TITLES
from utopia.figures import style
from utopia.figures.data import Inputs, Point
from utopia.figures.label_study import nothing, panel_name

READS = ("metrics",)
OPTIONS = ("bins", "annotators")
ACROSS = True
SHADES = (style.LIGHT_RED, style.PALE_RED, "#FFFFFF", "#CFE4F3", style.LIGHT_BLUE)
"""From worse than the labels as they are to better; the numbers say the same without colour."""


def draw(inputs: Inputs) -> tuple[Figure, list[Point]]:
    """Two panels for each target of each data set: a cell for each setting, shaded by its change against the labels."""
    bins, annotators = int(inputs.options.get("bins", 10)), int(inputs.options.get("annotators", 3))
    absent = [Point("", role, note=reason) for role, reason in inputs.absent_runs.items()]
    values = {
        (role, measure): _values(inputs, role, f"{measure}.b{bins}.k{annotators}")
        for role in inputs.metrics
        if role not in inputs.absent_runs
        for measure in MEASURES
    }
    roles = [role for role in inputs.metrics if values.get((role, MEASURES[0]))]
    if not roles:
        return nothing(inputs)
    figure, points = style.blank(0.3 + 1.42 * len(roles)), []
    panels = figure.subplots(len(roles), 2, squeeze=False)
    for row, role in enumerate(roles):
        for axes, measure in zip(panels[row], MEASURES, strict=True):
            points += _panel(axes, role, measure, values[role, measure])
            axes.set_xlabel("sigma in bins" if row == len(roles) - 1 else "")
        panels[row][0].set_ylabel("reach in bins")
    return figure, [*points, *absent]


def _values(inputs: Inputs, role: str, stem: str) -> dict[str, float]:
    """By what follows the stem (`as_is`, `calibrated`, `ulda.r1.s1`), the mean over videos and repeats."""
    target, means = role.partition(".")[2], {}
    settings = [f"ulda.r{reach}.s{sigma:g}" for reach in REACHES for sigma in WIDTHS]
    for name in ("as_is", "calibrated", *settings):
        rows = metrics_csv.select(inputs.metrics[role], target, f"{stem}.{name}")
        values = [row.value for row in rows if not row.item and not metrics_csv.is_hole(row)]
        if values:
            means[name] = float(np.mean(values))
    return means


def _panel(axes: Axes, role: str, measure: str, means: dict[str, float]) -> list[Point]:
    panel, base = f"{role}: {TITLES[measure]}", means["as_is"]
    points = [Point(panel, name, None, means[name]) for name in ("as_is", "calibrated")]
    for row, reach in enumerate(REACHES):
        for column, sigma in enumerate(WIDTHS):
            value = means[f"ulda.r{reach}.s{sigma:g}"]
            gain = (value - base) if measure == "pcc" else (base - value) / base / 2
            shade = SHADES[int(np.digitize(gain, (-0.1, -0.02, 0.02, 0.1)))]
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=shade, edgecolor="white"))
            text = f"{value:.2f}" if measure == "pcc" else f"{value:.3f}"
            axes.text(column, row, text.replace("-", "−"), ha="center", va="center", fontsize=6.5)
            points.append(Point(panel, f"reach {reach}", sigma, value))
    place = WIDTHS.index(PUBLISHED[1]) - 0.5, REACHES.index(PUBLISHED[0]) - 0.5
    axes.add_patch(Rectangle(place, 1, 1, fill=False, edgecolor=style.BLACK, linewidth=0.9, zorder=3))
    axes.set_xlim(-0.5, len(WIDTHS) - 0.5)
    axes.set_ylim(-0.5, len(REACHES) - 0.5)
    axes.set_xticks(range(len(WIDTHS)), [f"{sigma:g}" for sigma in WIDTHS])
    axes.set_yticks(range(len(REACHES)), [str(reach) for reach in REACHES])
    decimals = 2 if measure == "pcc" else 3
    first = f"{panel_name(role)}: {TITLES[measure]}" if measure == MEASURES[0] else TITLES[measure]
    words = f"as is {base:.{decimals}f}, calibr. {means['calibrated']:.{decimals}f}"
    style.title(axes, "", f"{first}\n{words}".replace("-", "−"))
    return points
