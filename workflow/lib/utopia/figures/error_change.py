"""Whether errors fall where training labels become more like the test labels (beyond ULDA Fig. 4)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utopia.evaluation.metrics import is_constant, pcc
from utopia.figures import style
from utopia.figures.data import Inputs, Point
from utopia.figures.error_by_label import NAMES, no_errors
from utopia.figures.error_data import errors, folds, item_gain

READS = ()
FEWEST_POINTS = 3
_LOOKS = ((style.BLUE, "o"), (style.VERMILLION, "s"), (style.GREEN, "D"), (style.PURPLE, "^"))
_PAIRS = ("target and fold", "target and test item")

Pair = tuple[float, float, str]
"""Change of PCC, change of MSE, and whose they are."""


def draw(inputs: Inputs) -> tuple[Figure, list[Point]]:
    """Above a point per target and fold, below one per target and test item."""
    if reason := no_errors(inputs):
        figure = style.blank(1.3)
        style.statement(figure.subplots(), f"No predictions:\n{reason}", width=50)
        return figure, [Point("a", "absent", note=reason)]
    by_target = {target: changes(inputs, target) for target in inputs.labels.targets}
    figure, points = style.blank(4.4), []
    for axes, letter, over, number in zip(figure.subplots(2, 1), "ab", _PAIRS, range(2), strict=False):
        points += _panel(axes, letter, over, {target: pairs[number] for target, pairs in by_target.items()}, inputs)
    return figure, points


def changes(inputs: Inputs, target: str) -> tuple[list[Pair], list[Pair]]:
    """Change of distribution PCC and of MSE with ULDA, of each fold, and of each test item of each fold."""
    known = folds(inputs.labels, target, inputs.settings)
    stored = [inputs.predictions[role] for role in NAMES]
    if not all(any(name.startswith(f"{target}/") for name in file) for file in stored):
        return [], []
    without, treated = (errors(inputs.labels, file, target, inputs.settings) for file in stored)
    of_folds, of_items = [], []
    for fold in known:
        before, after = fold.before(), fold.after()
        if fold.name in without.by_fold and fold.name in treated.by_fold and None not in (before, after):
            change = treated.by_fold[fold.name] - without.by_fold[fold.name]
            of_folds.append((float(after or 0) - float(before or 0), change, f"{target}/{fold.name}"))
        for name, item in without.by_item:
            if name == fold.name and (name, item) in treated.by_item:
                gain = item_gain(inputs.labels, item, target, inputs.settings, fold)
                change = treated.by_item[name, item] - without.by_item[name, item]
                if gain is not None:
                    of_items.append((gain, change, f"{target}/{fold.name}/{item}"))
    return of_folds, of_items


def _panel(axes: Axes, letter: str, over: str, pairs: dict[str, list[Pair]], inputs: Inputs) -> list[Point]:
    every = [pair for of_target in pairs.values() for pair in of_target]
    gains, falls = [gain for gain, _, _ in every], [fall for _, fall, _ in every]
    enough = len(every) >= FEWEST_POINTS and not is_constant(gains) and not is_constant(falls)
    r = float(pcc(np.array(gains), np.array(falls))) if enough else None
    for (target, of_target), (colour, marker) in zip(pairs.items(), _LOOKS, strict=False):
        x, y = [gain for gain, _, _ in of_target], [fall for _, fall, _ in of_target]
        axes.scatter(x, y, s=16, color=colour, marker=marker, alpha=0.8, linewidths=0, label=target, zorder=2)
    axes.axhline(0, color=style.GREY, linewidth=0.6, zorder=1)
    axes.axvline(0, color=style.GREY, linewidth=0.6, zorder=1)
    axes.margins(0.08)
    axes.set(xlabel="change of the label distribution's PCC", ylabel="change of MSE")
    said = f"r = {r:.2f}".replace("-", "−") if r is not None else "too few for r"
    style.title(axes, letter, f"{style.count(len(every), 'pair')} of {over}: {said}", legend=2 if len(pairs) > 1 else 0)
    return [
        *(Point(letter, f"change of PCC (x) and of MSE (y), {over}", x, y, note=name) for x, y, name in every),
        Point(letter, f"correlation of the changes, {over}", None, r, note=said),
    ]
