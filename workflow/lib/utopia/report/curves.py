"""Curves of the page: losses by epoch, and predictions beside the labels; thinned, one character per point.

A character is one of 64 levels between a curve's lowest and highest value, which is as fine as a small drawing shows;
all numbers are in `training.json` and `predictions.safetensors`, whose sha256 the page has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from utopia import arrays
from utopia.labels.read import Labels

LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""Also in `page/curves.js`. What is not a number is a blank."""
MOST = 150_000
"""Characters that the losses of all replicas may take, and the predictions of all runs: each gets fewer points in a
larger study."""
_FEWEST, _POINTS = 10, 32
_MARGIN = 0.25
"""How far beyond the labels' own range predictions are drawn, as a share of it; what lies farther is at the edge."""


def points_for(curves: int) -> int:
    """How many points each of so many curves gets."""
    return max(_FEWEST, min(_POINTS, MOST // max(1, curves)))


def coded(values: Iterable[float], low: float, high: float, points: int) -> str:
    """A curve as at most so many characters, evenly spaced and with both ends; beyond `low` and `high` at the edge."""
    values_T = np.asarray(list(values), np.float64)
    if len(values_T) > points:
        values_T = values_T[np.linspace(0, len(values_T) - 1, points).round().astype(int)]
    share = (values_T - low) / (high - low or 1.0)
    levels = np.clip(np.nan_to_num(share, nan=-1.0) * (len(LEVELS) - 1), 0, len(LEVELS) - 1).round().astype(int)
    return "".join(LEVELS[level] if known else " " for level, known in zip(levels, np.isfinite(values_T), strict=True))


def losses(replicas: Sequence[Mapping[str, Any]], points: int) -> list[Any]:
    """`[[lowest, highest] of the training loss, of the validation loss, [[training, validation] of each replica]]`.

    Args:
        replicas: as `training.json` has them.
        points: see `points_for`.
    """
    kinds = ("loss", "validation_loss")
    ends = []
    for kind in kinds:
        known = [
            value
            for replica in replicas
            for value in replica.get(kind) or ()
            if value is not None and np.isfinite(value)
        ]
        ends.append([float(f"{end:.3g}") for end in (min(known), max(known))] if known else [0.0, 0.0])
    curves = [
        [
            coded([np.nan if value is None else value for value in replica.get(kind) or ()], low, high, points)
            for kind, (low, high) in zip(kinds, ends, strict=True)
        ]
        for replica in replicas
    ]
    return [*ends, curves]


class SeriesOfVideos:
    """Labels and predictions of test videos, where each has one number per time.

    Args:
        checked: gives the file of a path as records write it, or None where the study has none.
        root: the study's folder, as records write it.
        points: see `points_for`.
    """

    def __init__(self, checked: Callable[[str], Path | None], root: str, points: int = _POINTS) -> None:
        self._checked, self._root, self._points = checked, root, points
        self._labels: dict[str, Labels | None] = {}
        self.truths: dict[str, list[Any]] = {}
        """`[lowest, highest, [item], [its labels], [seconds]]` by data set and target; filled by `of_run`."""

    def of_run(self, run: str, targets: Iterable[str]) -> dict[str, list[list[Any]]]:
        """By target `[number of the item in truths, mean prediction over folds and repeats]` of each test item."""
        dataset = run.partition(".")[0]
        path = self._checked(f"{self._root}/runs/{run}/predictions.safetensors")
        labels = self._labels_of(dataset)
        if path is None or labels is None:
            return {}
        stored = arrays.load(path)
        sums: dict[str, dict[str, list[NDArray[np.float64]]]] = {}
        for name in stored:
            target, _, _, item = name.split("/", 3)
            if target in targets and target not in labels.columns:
                sums.setdefault(target, {}).setdefault(item, []).append(stored[name].astype(np.float64))
        drawn: dict[str, list[list[Any]]] = {}
        for target, items in sums.items():
            low, high, names, curves, seconds = self.truths.setdefault(
                f"{dataset} {target}", [*_frame(labels, target), [], [], []]
            )
            for item, predictions in items.items():
                if f"{item}/{target}" not in labels.arrays or len({len(prediction) for prediction in predictions}) != 1:
                    continue
                if item not in names:
                    names.append(item)
                    curves.append(coded(labels.arrays[f"{item}/{target}"], low, high, self._points))
                    seconds.append(round(float(labels.times(item)[-1])))
                mean = np.mean(predictions, axis=0)
                drawn.setdefault(target, []).append([names.index(item), coded(mean, low, high, self._points)])
        return drawn

    def _labels_of(self, dataset: str) -> Labels | None:
        if dataset not in self._labels:
            path = self._checked(f"{self._root}/labels/{dataset}/labels.safetensors")
            self._labels[dataset] = None if path is None else Labels(path)
        return self._labels[dataset]


def _frame(labels: Labels, target: str) -> tuple[float, float]:
    """The range of a target's labels over all items, and a margin."""
    every = [labels.arrays[f"{item}/{target}"] for item in labels.items if f"{item}/{target}" in labels.arrays]
    low, high = min(float(label.min()) for label in every), max(float(label.max()) for label in every)
    margin = _MARGIN * (high - low)
    return float(f"{low - margin:.4g}"), float(f"{high + margin:.4g}")
