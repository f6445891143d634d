"""Training against test labels before and after convolution, and the error at each label, as ULDA Fig. 4 draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from utopia.config import registry
from utopia.figures import style
from utopia.figures.data import Inputs, Point, bin_centres, bin_edges, occupied
from utopia.figures.error_data import (
    Errors,
    FoldDistributions,
    Regions,
    errors,
    folds,
    likeness,
    mean_of,
    regions_of,
    share,
)

READS = ()
OPTIONS = ("threshold",)
BASELINE, ULDA = "baseline", "tns_cwl"
NAMES = {BASELINE: "without ULDA", ULDA: "with ULDA"}
_LINES = {BASELINE: style.VERMILLION, ULDA: style.BLUE}
_AREAS = {BASELINE: style.PALE_RED, ULDA: style.LIGHT_BLUE}
_DASHED = (0, (3, 1.2))
_STYLES: Mapping[str, Any] = {BASELINE: _DASHED, ULDA: "-"}
_MOST_ROWS = 9
_ROOM = 10
"""Points above a panel, for the names of the regions."""


def draw(inputs: Inputs) -> tuple[Figure, list[Point]]:
    """(a) three label distributions with their PCC; (b) the error by label; below, both by region."""
    known = folds(inputs.labels, inputs.target, inputs.settings)
    train = np.mean([fold.train for fold in known], axis=0)
    asked = inputs.options.get("threshold")
    regions = regions_of(train, None if asked is None else float(asked))
    reason = no_errors(inputs)
    made = {} if reason else {
        role: errors(inputs.labels, inputs.predictions[role], inputs.target, inputs.settings) for role in NAMES
    }  # fmt: skip
    shown = occupied(*(count for fold in known for count in (fold.train_convolved, fold.test)))
    figure = style.blank(5.9)
    above, below, table = figure.subplots(3, 1, height_ratios=(1, 1.15, 0.95))
    points = [*_region_points(regions, train, inputs), *_distributions(above, inputs, known, regions, shown)]
    if reason:
        style.title(below, "b", "squared error by label")
        style.statement(below, f"No predictions:\n{reason}", width=50)
        points.append(Point("b", "absent", note=reason))
    else:
        points += _by_label(below, inputs, made, regions, shown)
    return figure, [*points, *_table(table, known, made, regions)]


def no_errors(inputs: Inputs) -> str:
    """Why errors cannot be compared; empty if there are predictions with and without ULDA."""
    if all(role in inputs.predictions for role in NAMES):
        return ""
    return "; ".join(dict.fromkeys(inputs.absent_runs.values())) or "a run with and one without ULDA are needed"


def _region_points(regions: Regions, train: np.ndarray, inputs: Inputs) -> list[Point]:
    edges = bin_edges(inputs.settings)
    per_fold = "mean over folds" if len(inputs.labels.folds) > 1 else "one fold"
    points = [
        Point("", "threshold, training frames at a label", None, regions.threshold, note=per_fold),
        Point("", "threshold, share of all training frames", None, regions.threshold / float(train.sum())),
    ]
    for name, where in regions.slices.items():
        inside = train[where]
        low, high = (float(edges[where.start]), float(edges[where.stop])) if len(inside) else (None, None)
        lower = int((inside <= regions.threshold).sum())
        note = f"{len(inside)} labels, {lower} of them not above the threshold"
        points.append(Point("", f"region {name}, labels", None, float(inside.sum()), low, high, note))
    return points


def _distributions(
    axes: Axes, inputs: Inputs, known: list[FoldDistributions], regions: Regions, shown: slice
) -> list[Point]:
    centres, window = bin_centres(inputs.settings), bin_edges(inputs.settings)[shown.start : shown.stop + 1]
    test, train, convolved = (
        100 * np.mean([share(getattr(fold, name)) for fold in known], axis=0)
        for name in ("test", "train", "train_convolved")
    )
    axes.stairs(test[shown], window, fill=True, facecolor=style.YELLOW, edgecolor=style.GREY, linewidth=0.5)
    # The dashes lie over the line: where the convolution changes little, both are seen.
    axes.stairs(convolved[shown], window, color=style.BLUE, linewidth=1.6, baseline=None)
    axes.stairs(train[shown], window, color=style.VERMILLION, linestyle=_DASHED, linewidth=1.0, baseline=None)
    total = float(np.mean([fold.train.sum() for fold in known]))
    limit = 100 * regions.threshold / total
    axes.axhline(limit, color=style.BLACK, linewidth=0.6, linestyle=(0, (1, 1.5)))
    before, after = mean_of([fold.before() for fold in known]), mean_of([fold.after() for fold in known])
    handles = [
        Line2D(
            [],
            [],
            color=style.VERMILLION,
            linestyle=_DASHED,
            linewidth=1.0,
            label=f"training: PCC with test {_r(before)}",
        ),
        Line2D([], [], color=style.BLUE, linewidth=1.6, label=f"training, convolved: PCC with test {_r(after)}"),
        Patch(facecolor=style.YELLOW, edgecolor=style.GREY, linewidth=0.5, label="test"),
        Line2D([], [], color=style.BLACK, linewidth=0.6, linestyle=(0, (1, 1.5)), label=_threshold(regions, total)),
    ]
    axes.set(xlim=(window[0], window[-1]), ylabel="frames (%)", xlabel=f"{inputs.target} label")
    axes.set_ylim(0, 1.08 * max(float(values.max()) for values in (test, train, convolved)))
    over = f", mean of {len(known)} folds" if len(known) > 1 else ""
    _mark(axes, regions, inputs, shown)
    style.title(axes, "a", f"label distributions{over}", legend=1, handles=handles, room=_ROOM)
    points = [
        Point("a", name, float(x), float(y), note="per cent of the frames")
        for name, values in (("training", train), ("training, convolved", convolved), ("test", test))
        for x, y in zip(centres, values, strict=True)
    ]
    for name, of_folds in (
        ("PCC of training and test", [fold.before() for fold in known]),
        ("PCC of training, convolved, and test", [fold.after() for fold in known]),
    ):
        points += [Point("a", f"{name}, fold", fold.name, r) for fold, r in zip(known, of_folds, strict=True)]
        points.append(Point("a", name, None, mean_of(of_folds)))
    return points


def _threshold(regions: Regions, total: float) -> str:
    frames = f"{regions.threshold:,.0f}" if regions.threshold >= 100 else f"{regions.threshold:.3g}"
    return f"threshold: {frames} training frames ({100 * regions.threshold / total:.2g} %)"


def _r(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}".replace("-", "−")


def _mark(axes: Axes, regions: Regions, inputs: Inputs, shown: slice) -> None:
    """Lines where regions meet, and their names below the panel's upper edge."""
    edges = bin_edges(inputs.settings)
    for name, where in regions.slices.items():
        first, stop = max(where.start, shown.start), min(where.stop, shown.stop)
        if first >= stop:
            continue
        if first > shown.start:
            axes.axvline(edges[first], color=style.GREY, linewidth=0.7, linestyle=(0, (5, 2)), zorder=3.5)
        middle = (edges[first] + edges[stop]) / 2
        axes.text(middle, 1.0, name, ha="center", va="bottom", fontsize=7, transform=axes.get_xaxis_transform())


def _by_label(axes: Axes, inputs: Inputs, made: Mapping[str, Errors], regions: Regions, shown: slice) -> list[Point]:
    edges, centres = bin_edges(inputs.settings), bin_centres(inputs.settings)
    points, top, handles = [], 0.0, []
    tested = np.bincount(made[BASELINE].bin, minlength=regions.bins)
    for role, error in made.items():
        mean, low, high = error.by_label(regions.bins)
        known_bins = np.flatnonzero(~np.isnan(mean))
        top = max(top, float(np.nanmax(high)))
        # A ribbon of steps shows a label between two without test frames, which a polygon of one point would not.
        inside = slice(shown.start, shown.stop)
        axes.stairs(
            high[inside], edges[shown.start : shown.stop + 1], baseline=low[inside], fill=True, color=_AREAS[role],
            alpha=0.8, linewidth=0, zorder=2,
        )  # fmt: skip
        axes.stairs(
            high[inside], edges[shown.start : shown.stop + 1], baseline=low[inside], color=_LINES[role], linewidth=0.5,
            linestyle=_STYLES[role], zorder=3,
        )  # fmt: skip
        look: dict[str, Any] = {"color": _LINES[role], "linestyle": _STYLES[role]}
        axes.plot(centres, mean, **look, linewidth=1.2, marker="o", markersize=1.6, zorder=4)
        handles += [
            Line2D([], [], **look, marker="o", markersize=1.6, label=f"mean {NAMES[role]}"),
            Patch(facecolor=_AREAS[role], edgecolor=_LINES[role], linewidth=0.5, linestyle=_STYLES[role],
                  label=f"range {NAMES[role]}"),
        ]  # fmt: skip
        points += [
            Point("b", f"MSE {NAMES[role]}, mean and range", float(centres[k]), float(mean[k]), float(low[k]),
                  float(high[k]), style.count(int(tested[k]), "error"))
            for k in known_bins
        ]  # fmt: skip
    axes.set(xlim=(edges[shown.start], edges[shown.stop]), ylim=(0, 1.05 * top))
    axes.set(xlabel=f"{inputs.target} label", ylabel="squared error")
    _mark(axes, regions, inputs, shown)
    model = _model(inputs)
    style.title(axes, "b", f"squared error of {model} by label", legend=2, handles=handles, room=_ROOM)
    return points


def _model(inputs: Inputs) -> str:
    """The title of the model whose predictions are shown, as their run's id names it."""
    _, _, rest = str(inputs.predictions[BASELINE].meta.get("run", "")).partition(".")
    name = rest.partition(".")[0]
    return registry.title("models", name) or "the model"


def _table(axes: Axes, known: list[FoldDistributions], made: Mapping[str, Errors], regions: Regions) -> list[Point]:
    """The mean MSE and the PCC of each region, and how ULDA changes them."""
    stretches = {**regions.slices, "all": slice(0, regions.bins)}
    before, after = (
        [mean_of([getattr(fold, name)(where) for fold in known]) for where in stretches.values()]
        for name in ("before", "after")
    )
    rows: dict[str, list[float | None]] = {}
    if made:
        rows |= {f"MSE {NAMES[role]}": [_mean(made[role].at(where)) for where in stretches.values()] for role in made}
        rows["change of MSE"] = _differences(*list(rows.values())[:2])
        for role in made:
            rows[f"range {NAMES[role]}"] = [
                _known(made[role].mean_range(where, regions.bins)) for where in stretches.values()
            ]
    rows |= {"PCC, original labels": before, "PCC, convolved labels": after}
    rows["change of PCC"] = _differences(before, after)
    axes.axis("off")
    columns = np.linspace(0.54, 1.0, len(stretches))
    lines = np.linspace(1, 0, _MOST_ROWS + 1)
    axes.text(0, lines[0], "region", va="center", fontsize=7, fontweight="bold")
    for x, name in zip(columns, stretches, strict=True):
        axes.text(x, lines[0], name, ha="right", va="center", fontsize=7, fontweight="bold")
    points = []
    for y, (name, values) in zip(lines[1:], rows.items(), strict=False):
        changes = name.startswith("change")
        axes.text(0, y, name, va="center", fontsize=7, fontweight="bold" if changes else "normal")
        for x, region, value in zip(columns, stretches, values, strict=True):
            said = "–" if value is None else style.signed(value, 3) if changes else _r(value)
            axes.text(x, y, said, ha="right", va="center", fontsize=7, fontweight="bold" if changes else "normal")
            points.append(Point("regions", name, region, value, note="" if value is not None else "not defined"))
    axes.set(xlim=(0, 1), ylim=(-0.05, 1.05))
    if made:
        r = over_regions(rows["change of PCC"][:-1], rows["change of MSE"][:-1])
        axes.text(0, lines[-1], "r of both changes, I to III", va="center", fontsize=7)
        axes.text(1, lines[-1], _r(r), ha="right", va="center", fontsize=7)
        points.append(Point("regions", "correlation of both changes over the regions", None, r))
        points += [
            Point("regions", "test frames, all seeds", region, float(len(made[BASELINE].at(where))))
            for region, where in stretches.items()
        ]
    return points


def over_regions(of_pcc: Sequence[float | None], of_mse: Sequence[float | None]) -> float | None:
    """The correlation that the paper speaks of (sec. 4.5): over the three regions; None if one has no such change."""
    if None in (*of_pcc, *of_mse):
        return None
    return likeness(np.array(of_pcc, np.float64), np.array(of_mse, np.float64))


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _differences(before: list[float | None], after: list[float | None]) -> list[float | None]:
    pairs = zip(before, after, strict=True)
    return [None if one is None or other is None else other - one for one, other in pairs]
