"""Training against test labels before and after convolution, and the error at each label (ULDA Fig. 4)."""

from __future__ import annotations

import textwrap
from itertools import pairwise
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utopia.evaluation.metrics import is_constant, pcc
from utopia.outputs import figure_style as style
from utopia.outputs.figure_data import Inputs, Point, bin_centres, bin_edges, occupied
from utopia.outputs.figure_shift_data import REGIONS, Errors, Fold, errors, folds, item_gain, region_of, share

BASELINE = "baseline"
_NAMES = {"baseline": "without ULDA", "cwl": "CWL", "tns_cwl": "TNS + CWL"}
_COLOURS = {"baseline": style.GREY, "cwl": style.ORANGE, "tns_cwl": style.BLUE}
_SHADES = {0: "#FFFFFF", 1: "#EFEFEF", 2: "#DADADA"}
_REGION_NAMES = ("many", "few", "no")
FEWEST_POINTS = 3
_LINE = 100
"""Characters to a line of the note below the panels."""


def draw(inputs: Inputs) -> tuple[Figure, list[Point]]:
    """Distributions before and after convolution above; squared error by label and by region below."""
    figure = style.blank(4.6)
    grid = figure.add_gridspec(2, 6, height_ratios=(1, 1.15))
    before, after = figure.add_subplot(grid[0, :3]), figure.add_subplot(grid[0, 3:])
    by_label, by_region = figure.add_subplot(grid[1, :4]), figure.add_subplot(grid[1, 4:])
    known = folds(inputs.labels, inputs.target, inputs.settings)
    points = _distributions(before, after, inputs, known)
    reason = _no_errors(inputs)
    if reason:
        for axes, letter, text in ((by_label, "b", "squared error by label"), (by_region, "c", "by region")):
            style.title(axes, letter, text)
            style.statement(axes, "No predictions" if letter == "c" else f"No predictions:\n{reason}", width=60)
        return figure, [*points, Point("b", "absent", note=reason), Point("c", "absent", note=reason)]
    many = inputs.options.get("many")
    found = {
        role: errors(inputs.labels, inputs.predictions[role], inputs.target, inputs.settings, known, many)
        for role in _roles(inputs)
    }
    points += _by_label(by_label, inputs, known, found)
    points += _by_region(by_region, inputs, found)
    points += _correlation(figure, inputs)
    return figure, points


def _roles(inputs: Inputs) -> list[str]:
    return [role for role in _NAMES if role in inputs.predictions]


def _no_errors(inputs: Inputs) -> str:
    """Why errors cannot be compared; empty if there is a baseline and a treatment."""
    roles = _roles(inputs)
    if BASELINE in roles and len(roles) > 1:
        return ""
    reasons = list(dict.fromkeys(inputs.absent_runs.values()))
    return "; ".join(reasons) or "a run with and one without ULDA are needed"


def _distributions(before: Axes, after: Axes, inputs: Inputs, known: list[Fold]) -> list[Point]:
    edges, centres = bin_edges(inputs.settings), bin_centres(inputs.settings)
    points, top = [], 0.0
    shown = occupied(*(count for fold in known for count in (fold.train_convolved, fold.test)))
    # The legend goes to the side that has less below it.
    high = np.max([fold.test for fold in known] + [fold.train_convolved for fold in known], axis=0)[shown]
    left = bool(high[: len(high) // 2].sum() < high[len(high) // 2 :].sum())
    for axes, when in ((before, "before"), (after, "after")):
        train = np.mean([share(fold.train if when == "before" else fold.train_convolved) for fold in known], axis=0)
        test = np.mean([share(fold.test) for fold in known], axis=0)
        window = edges[shown.start : shown.stop + 1]
        axes.stairs(100 * train[shown], window, fill=True, color=style.SKY, alpha=0.75, label="training")
        axes.stairs(100 * test[shown], window, color=style.VERMILLION, linewidth=1.2, label="test", baseline=None)
        top = max(top, 100 * train.max(), 100 * test.max())
        over = f", mean of {len(known)} folds" if len(known) > 1 else ""
        style.title(axes, "a", ("labels as they are" if when == "before" else "training labels convolved") + over)
        axes.set(xlim=(window[0], window[-1]), xlabel=f"{inputs.target} label", ylabel="frames (%)")
        if when == "before":
            said = f"PCC {np.mean([fold.before for fold in known]):.4f}"
        else:
            said = f"PCC {np.mean([fold.after for fold in known]):.4f}\n"
            said += f"(both convolved {np.mean([fold.both for fold in known]):.4f})"
        side: Literal["left", "right"] = "left" if left else "right"
        corner: Literal["upper left", "upper right"] = "upper left" if left else "upper right"
        legend = axes.legend(loc=corner, borderaxespad=0.1, title=said, alignment=side)
        legend.get_title().set_multialignment(side)
        points += [Point(f"a {when}", "training", float(x), float(y)) for x, y in zip(centres, train, strict=True)]
        points += [Point(f"a {when}", "test", float(x), float(y)) for x, y in zip(centres, test, strict=True)]
    for name, correlations in (
        ("pcc before", [fold.before for fold in known]),
        ("pcc after, training convolved", [fold.after for fold in known]),
        ("pcc after, both convolved", [fold.both for fold in known]),
    ):
        points += [Point("a", f"{name}, fold", fold.name, r) for fold, r in zip(known, correlations, strict=True)]
        points.append(Point("a", name, None, float(np.mean(correlations)), min(correlations), max(correlations)))
    for axes in (before, after):
        axes.set_ylim(0, 1.1 * top)
    return points


def _by_label(axes: Axes, inputs: Inputs, known: list[Fold], found: dict[str, Errors]) -> list[Point]:
    edges, centres = bin_edges(inputs.settings), bin_centres(inputs.settings)
    train = np.mean([fold.train for fold in known], axis=0)
    region = region_of(train, inputs.options.get("many"))
    tested = np.bincount(next(iter(found.values())).bin, minlength=len(train)).astype(float)
    shown = occupied(train, tested)
    for index in range(shown.start, shown.stop):
        axes.axvspan(edges[index], edges[index + 1], color=_SHADES[int(region[index])], lw=0, zorder=0)
    points = [Point("b", "training frames", float(x), float(n)) for x, n in zip(centres, train, strict=True)]
    points += [Point("b", "region", float(x), REGIONS[index]) for x, index in zip(centres, region, strict=True)]
    # Two bands are as many as can be told apart: without ULDA, and the fullest treatment at hand.
    banded, top = (BASELINE, list(found)[-1]), 0.0
    for role, error in found.items():
        mean, low, high = error.by_bin(len(train))
        there = ~np.isnan(mean)
        if role in banded:
            axes.fill_between(centres[there], low[there], high[there], color=_COLOURS[role], alpha=0.18, lw=0)
            top = max(top, float(high[there].max()))
        axes.plot(centres[there], mean[there], color=_COLOURS[role], marker="o", markersize=2.5, label=_NAMES[role])
        top = max(top, float(mean[there].max()))
        points += [
            Point(
                "b", role, float(centres[k]), float(mean[k]), float(low[k]), float(high[k]), f"{int(tested[k])} errors"
            )
            for k in np.flatnonzero(there)
        ]
        least, most = error.extremes(len(train))
        points += [
            Point("b", f"{role}, whole range", float(centres[k]), None, float(least[k]), float(most[k]))
            for k in np.flatnonzero(there)
        ]
    axes.set(xlim=(edges[shown.start], edges[shown.stop]), ylim=(0, 1.3 * top))
    axes.set(xlabel=f"{inputs.target} label", ylabel="squared error")
    narrow = 0.04 * (shown.stop - shown.start)
    for start, stop in _runs(region[shown]):
        if stop - start < narrow:
            continue
        middle = (edges[shown.start + start] + edges[shown.start + stop]) / 2
        axes.text(
            middle,
            0.99,
            REGIONS[int(region[shown][start])],
            ha="center",
            va="top",
            transform=axes.get_xaxis_transform(),
        )
    axes.legend(loc="upper left", bbox_to_anchor=(0, 0.93), borderaxespad=0.1, ncols=len(found), columnspacing=1.0)
    style.title(axes, "b", "squared error by label: mean, 5–95 % band")
    return points


def _runs(values: np.ndarray) -> list[tuple[int, int]]:
    """Half-open ranges of equal neighbours."""
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return list(pairwise(edges))


def _by_region(axes: Axes, inputs: Inputs, found: dict[str, Errors]) -> list[Point]:
    points, width = [], 0.8 / len(found)
    top = max(mse for error in found.values() for mse, count in error.by_region() if count)
    for number, (role, error) in enumerate(found.items()):
        for index, (mse, count) in enumerate(error.by_region()):
            x = index + (number - (len(found) - 1) / 2) * width
            points.append(Point("c", role, REGIONS[index], None if np.isnan(mse) else mse, note=f"{count} errors"))
            if count:
                axes.bar(x, mse, width=0.92 * width, color=_COLOURS[role])
                axes.text(x, mse + 0.02 * top, f"{mse:.3f}", ha="center", va="bottom", rotation=90, fontsize=6.5)
            elif number == 0:
                axes.text(index, 0.02 * top, "no test\nframe", ha="center", va="bottom", fontsize=6.5, color="#444444")
    axes.set(xlim=(-0.6, 2.6), ylim=(0, 1.3 * top), ylabel="MSE")
    axes.set_xticks(range(3), [f"{region}\n{name}" for region, name in zip(REGIONS, _REGION_NAMES, strict=True)])
    axes.set_xlabel("region: training samples")
    style.title(axes, "c", "by region")
    return points


def _correlation(figure: Figure, inputs: Inputs) -> list[Point]:
    """Whether a gain in distribution PCC goes with a fall of the MSE: over targets and folds, and over test items."""
    treatment = _roles(inputs)[-1]
    pairs: dict[str, list[tuple[float, float, str]]] = {
        "pairs of target and fold": [],
        "pairs of target and test item": [],
    }
    for target in inputs.labels.targets:
        known = folds(inputs.labels, target, inputs.settings)
        stored = [inputs.predictions[role] for role in (BASELINE, treatment)]
        if not all(any(name.startswith(f"{target}/") for name in file) for file in stored):
            continue
        without, treated = (errors(inputs.labels, file, target, inputs.settings, known) for file in stored)
        for fold in known:
            if fold.name in without.by_fold and fold.name in treated.by_fold:
                change = treated.by_fold[fold.name] - without.by_fold[fold.name]
                pairs["pairs of target and fold"].append((fold.after - fold.before, change, f"{target}/{fold.name}"))
            for name, item in without.by_item:
                if name == fold.name and (name, item) in treated.by_item:
                    gain = item_gain(inputs.labels, item, target, inputs.settings, fold)
                    change = treated.by_item[name, item] - without.by_item[name, item]
                    pairs["pairs of target and test item"].append((gain, change, f"{target}/{fold.name}/{item}"))
    points, said = [], []
    for over, found in pairs.items():
        points += [Point("d", f"change of PCC (x) and of MSE (y), {over}", x, y, note=name) for x, y, name in found]
        if len(found) < FEWEST_POINTS:
            continue
        gains, falls = [x for x, _, _ in found], [y for _, y, _ in found]
        r = None if is_constant(gains) or is_constant(falls) else pcc(gains, falls)
        value = "not defined (one of them is constant)" if r is None else f"r = {r:.2f}".replace("-", "−")
        said.append(f"{value} over {len(found)} {over}")
        points.append(Point("d", f"correlation of the changes, {over}", None, r, note=said[-1]))
    if said:
        change_of = f"Change of distribution PCC against change of MSE ({_NAMES[treatment]} − without)"
        text = f"{change_of}: {', '.join(said)}"
        figure.supxlabel(textwrap.fill(text, _LINE), x=0.01, ha="left", fontsize=7)
    return points
