"""How far a cell could have come out otherwise: on other test items and after other trainings, alone or paired.

A cell is a mean over test items and over repeats (trainings), so its error has two sources, which cross each other. The
variance that items alone give is estimated from the items' means over repeats; what repeats add, from the repeats'
means less what items and repeats together (the rest) explain; and each widens the interval by Student's quantile of its
own degrees of freedom (Howe, 1974; `utopia.evaluation.interval.sum_half_width`). A ratio, a root or a change in per
cent enters by its linear part. A percentile bootstrap over items is too narrow over few items and knows nothing of
repeats: `benchmarks/intervals.py` measures this and others, and docs/statistics.md has its tables. Texts for readers
say seeds for repeats: a seed of its own is what makes a repeat differ.

An item that several folds test is one item. What other folds would have given is in no interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utopia.errors import ComputeError
from utopia.evaluation import metrics_csv
from utopia.evaluation.interval import sum_half_width, two_sided_p

Float = NDArray[np.float64]

POOLED = {"mse": ("mse", False), "rmse": ("mse", True)}
"""Metrics over all frames of a fold -> the items' metric whose mean by frames they are, and whether a root follows."""
OWN = {"mse_item": "mse", "rmse_item": "rmse"}
"""Means over items -> the items' metric, where that has another name."""
_SLACK = {"f_score": 0.0051}
"""What a replica's metric may differ by from the mean of its items': F-scores of a fold may be rounded to .01."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval; without ends, `method` says why there is none."""

    low: float | None
    high: float | None
    method: str
    p: float | None = None
    """Of a difference: how often chance alone would give one as large, the larger of two p-values: that of this
    interval, and Student's t over the repeats. None with one repeat, which tells nothing of other trainings."""


@dataclass(frozen=True)
class Spread:
    """A statistic and what it is made of. R repeats; I different test items."""

    value: float
    by_repeat: Float
    """[R]; only its deviations from its mean count."""
    items: Float
    """What each item adds to a repeat's statistic, beside its share of the mean; sums to 0 over items. [I, R]"""
    shares: Float
    """The part that each item has in the statistic; sums to 1. [I]"""

    @property
    def of_repeats(self) -> tuple[float, float]:
        """Variance of the mean over repeats, as the repeats alone tell it, and its degrees of freedom."""
        repeats = self.by_repeat.size
        return (float(self.by_repeat.var(ddof=1)) / repeats if repeats > 1 else 0.0), float(repeats - 1)

    @property
    def parts(self) -> list[tuple[float, float]]:
        """Variance and degrees of freedom of what items explain, and of what repeats add to it.

        The sum of squares of the items' parts is a quadratic form in their values; its expectation and, for equal
        normal errors, its variance follow from the shares. With equal shares: I - 1 degrees of freedom.
        """
        power = [float((self.shares**k).sum()) for k in range(6)]
        expected = power[2] - 2 * power[3] + power[2] ** 2
        squared = power[4] * (1 + 4 * power[2]) - 4 * power[5] - 4 * power[2] ** 2 * power[3]
        squared += 2 * power[3] ** 2 + power[2] ** 4
        unbiased = power[2] / expected
        means = self.items.mean(axis=1)
        items = unbiased * float(means @ means), expected**2 / squared
        repeats = self.by_repeat.size
        if repeats < 2:
            return [items]
        rest = unbiased * float(((self.items - means[:, None]) ** 2).sum()) / (repeats * (repeats - 1))
        variance, degrees = self.of_repeats
        return [items, (max(0.0, variance - rest), degrees)]

    def interval(self, method: str) -> Interval:
        """The 95 % interval around the value."""
        half = sum_half_width(self.parts)
        return Interval(self.value - half, self.value + half, method)

    def difference_from_none(self, method: str) -> Interval:
        """The 95 % interval of a difference, and how often chance alone would give one as large."""
        p = None
        if self.by_repeat.size > 1:
            p = max(two_sided_p(self.value, self.parts), two_sided_p(self.value, [self.of_repeats]))
        around = self.interval(method)
        return Interval(around.low, around.high, method, p)


def combined(value: float, parts: Sequence[tuple[float, Spread]]) -> Spread:
    """The spread of `value`, whose linear part is a weighted sum of statistics of the same items and repeats."""
    by_repeat = sum((factor * spread.by_repeat for factor, spread in parts), np.zeros_like(parts[0][1].by_repeat))
    items = sum((factor * spread.items for factor, spread in parts), np.zeros_like(parts[0][1].items))
    return Spread(value, by_repeat, items, parts[0][1].shares)


@dataclass(frozen=True)
class Items:
    """A metric of a run at each of its test items. R repeats; n items of a fold."""

    run: str
    repeats: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]]
    """Items by fold."""
    values: Mapping[str, Float]
    """By fold, [R, n]."""
    weights: Mapping[str, Float]
    """By fold, [n]: frames of each item for a metric that pools frames, else 1."""
    root: bool
    """Whether the root of the mean is taken, as of a pooled mean squared error."""

    @property
    def distinct(self) -> list[str]:
        """Every test item once."""
        return list(dict.fromkeys(name for names in self.names.values() for name in names))

    def of_fold(self, fold: str) -> Float:
        """The statistic of a fold for each repeat [R]."""
        weights = self.weights[fold]
        mean = self.values[fold] @ weights / weights.sum()
        return np.sqrt(mean) if self.root else np.asarray(mean, np.float64)

    @property
    def by_repeat(self) -> Float:
        """The mean over folds for each repeat [R]."""
        return np.asarray(np.mean([self.of_fold(fold) for fold in self.names], axis=0), np.float64)

    @property
    def spread(self) -> Spread:
        """What the items and repeats make of the mean over folds and repeats."""
        by_repeat, place = self.by_repeat, {name: number for number, name in enumerate(self.distinct)}
        shares, parts = np.zeros(len(place)), np.zeros((len(place), by_repeat.size))
        for fold, names in self.names.items():
            where = [place[name] for name in names]
            value_R, share = self.of_fold(fold), self.weights[fold] / self.weights[fold].sum() / len(self.names)
            linear = self.values[fold]
            if self.root:  # the root's linear part: y/2r beside r/2; nothing is left of it where all errors are 0
                linear = value_R[:, None] / 2 + np.divide(
                    linear, 2 * value_R[:, None], out=np.zeros_like(linear), where=value_R[:, None] > 0
                )
            shares[where] += share
            parts[where] += (share * (linear - by_repeat[:, None])).T
        return Spread(float(by_repeat.mean()), by_repeat, parts, shares)

    def same_items(self, other: Items) -> bool:
        """Whether both runs were tested on the same items with the same repeats."""
        return self.repeats == other.repeats and dict(self.names) == dict(other.names)


def read_items(path: Path, run: str, target: str, metric: str, frames: Mapping[str, int] | None = None) -> Items | str:
    """The items' values behind a replica's metric, or why there is no interval.

    Args:
        path: the run's metrics file.
        run: the run's id.
        target: which target.
        metric: the replica's metric, as a column names it.
        frames: frames of each item; needed where frames are pooled.
    """
    source, root = POOLED.get(metric, (OWN.get(metric, metric), False))
    of_replicas: dict[tuple[str, str], float] = {}
    by_fold: dict[str, dict[str, dict[str, float]]] = {}
    for row in metrics_csv.select(path, target, metric, source):
        if not row.item and row.metric == metric:
            of_replicas[row.fold, row.repeat] = row.value
        if row.item and row.metric == source and not metrics_csv.is_hole(row):
            by_fold.setdefault(row.fold, {}).setdefault(row.repeat, {})[row.item] = row.value
    if not by_fold:
        return "this metric has no value per video, so there is no interval"
    numbers = tuple(sorted({repeat for by_repeat in by_fold.values() for repeat in by_repeat}))
    # in one order: a reference has its items in that of the folds, a trained run in that of its predictions
    names = {fold: tuple(sorted(next(iter(by_repeat.values())))) for fold, by_repeat in sorted(by_fold.items())}
    if any(
        set(by_repeat.get(repeat, ())) != set(names[fold]) for fold, by_repeat in by_fold.items() for repeat in numbers
    ):
        return "seeds differ in their test items"
    if not all(
        np.isfinite(list(values.values())).all() for by_repeat in by_fold.values() for values in by_repeat.values()
    ):
        return "the metric of a test item is no finite number"
    if metric in POOLED and not all(item in (frames or {}) for items in names.values() for item in items):
        return "the number of frames of each item is not at hand"
    known = frames or {}
    values = {
        fold: np.array([[by_fold[fold][repeat][item] for item in items] for repeat in numbers])
        for fold, items in names.items()
    }
    weights = {
        fold: np.array([known[item] if metric in POOLED else 1 for item in items], np.float64)
        for fold, items in names.items()
    }
    items = Items(run, numbers, names, values, weights, root)
    return _unlike_the_replicas(items, of_replicas, _SLACK.get(metric, 0.0)) or items


def _unlike_the_replicas(items: Items, of_replicas: Mapping[tuple[str, str], float], slack: float) -> str:
    """Whether the statistic of the items is what the replicas' own rows say: only then do they tell its spread."""
    for fold in items.names:
        for repeat, value in zip(items.repeats, items.of_fold(fold), strict=True):
            if not np.isclose(value, of_replicas.get((fold, repeat), np.nan), rtol=1e-9, atol=1e-12 + slack):
                return "the items' own metrics do not add up to this one"
    return ""


def interval(items: Items) -> Interval:
    """The interval of a cell that was computed from these items."""
    return Interval(None, None, why) if (why := _too_few(items)) else items.spread.interval(_method(items))


def paired(treated: Items, without: Items) -> Interval:
    """The interval of the difference treated - without, item by item and repeat by repeat, and its p-value.

    Args:
        treated: the cell's items.
        without: those of the run that it is compared with.
    """
    if not treated.same_items(without):
        return Interval(None, None, "other test items or seeds than what it is compared with")
    if why := _too_few(treated):
        return Interval(None, None, why)
    with_treatment, without_treatment = treated.spread, without.spread
    difference = combined(
        with_treatment.value - without_treatment.value, [(1.0, with_treatment), (-1.0, without_treatment)]
    )
    return difference.difference_from_none(f"paired {_method(treated)}")


def mean_change(pairs: Sequence[tuple[Float, Float]], better: str, kind: str = "relative") -> Float:
    """How much better a metric is than what it is compared with, mean over models; a gain is positive.

    ULDA sec. 4.4 gives MSE and PCC relative to the baseline and calls the gains of the F-score absolute.

    Args:
        pairs: (treated, without) for each model, each [..., R] over repeats.
        better: `lower` or `higher`.
        kind: `relative`: in per cent of what it is compared with. The mean over repeats is what is divided by, so that
            the mean of the result over repeats is the relative change of the means (as papers print it). `points`: the
            difference.

    Returns:
        [..., R].

    Raises:
        ComputeError: what is compared with is not positive: relative to it, a change has no meaning.
    """
    sign = 1.0 if better == "higher" else -1.0
    changes = []
    for treated, without in pairs:
        change = sign * (treated - without)
        if kind == "relative":
            base = without.mean(axis=-1, keepdims=True)
            if (base <= 0).any():
                raise ComputeError(
                    f"a change relative to {float(base.min()):.3g} has no meaning",
                    why="what it is compared with must be positive",
                )
            change = 100 * change / base
        changes.append(change)
    return np.asarray(np.mean(changes, axis=0), np.float64)


def change_interval(pairs: Sequence[tuple[Items, Items]], better: str, kind: str = "relative") -> Interval:
    """The interval of `mean_change`, item by item and repeat by repeat over all runs of all models, and its p-value.

    Raises:
        ComputeError: see `mean_change`.
    """
    first = pairs[0][0]
    if not all(first.same_items(items) for pair in pairs for items in pair):
        return Interval(None, None, "the runs differ in their test items or seeds")
    if why := _too_few(first):
        return Interval(None, None, why)
    value = mean_change([(treated.by_repeat, without.by_repeat) for treated, without in pairs], better, kind)
    sign, parts = 1.0 if better == "higher" else -1.0, []
    for treated, without in ((treated.spread, without.spread) for treated, without in pairs):
        unit = ratio = sign / len(pairs)
        if kind == "relative":
            if without.value**2 <= 4 * sum(variance for variance, _ in without.parts):
                return Interval(None, None, "what is compared with is less than two standard errors from 0")
            unit *= 100 / without.value
            ratio = unit * treated.value / without.value
        parts += [(unit, treated), (-ratio, without)]
    return combined(float(value.mean()), parts).difference_from_none(f"paired {_method(first)}")


def _too_few(items: Items) -> str:
    """Why these items have no interval; empty where they have one."""
    share = items.spread.shares
    return "one test item" if share.size < 2 or share.max() >= 1 else ""


def _method(items: Items) -> str:
    folds, repeats = len(items.names), len(items.repeats)
    over = f"{len(items.distinct)} test items" + (f" of {folds} folds" if folds > 1 else "")
    others = f"and {repeats} seeds" if repeats > 1 else "of one seed: other trainings are not in it"
    return f"95 % by Student's t over {over} {others}"
