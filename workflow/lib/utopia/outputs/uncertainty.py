"""How far a cell could have come out otherwise: bootstrap over test items, alone or paired with the untreated run.

Items are drawn with replacement within each fold, the same draw for all seeds and, for a difference, for both runs;
the statistic is then computed anew from the items' own stored metrics, as the cell's was: over the items of a fold,
mean over folds, mean over seeds. Seeds are not drawn: the interval says what other test items would have given, the
deviation beside it what other seeds would. Folds that share test items are drawn apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utopia import seeds
from utopia.errors import ComputeError
from utopia.evaluation import rows as metrics
from utopia.evaluation.interval import DRAWS, bootstrap_interval

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

    def scaled(self, factor: float) -> Interval:
        """In another unit (`factor` > 0)."""
        return (
            self
            if self.low is None or self.high is None
            else Interval(self.low * factor, self.high * factor, self.method)
        )


@dataclass(frozen=True)
class Items:
    """A metric of a run at each of its test items. S seeds; n items of a fold."""

    run: str
    seeds: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]]
    """Items by fold."""
    values: Mapping[str, Float]
    """By fold, [S, n]."""
    weights: Mapping[str, Float]
    """By fold, [n]: frames of each item for a metric that pools frames, else 1."""
    root: bool
    """Whether the root of the mean is taken, as of a pooled mean squared error."""

    @property
    def sizes(self) -> list[int]:
        """Items of each fold."""
        return [len(names) for names in self.names.values()]

    def statistic(self, counts: Sequence[Float]) -> Float:
        """The mean over folds for each seed [draws, S], with each item counted [draws, n] times in its fold."""
        folds = []
        for count, values, weights in zip(counts, self.values.values(), self.weights.values(), strict=True):
            share = count * weights
            mean = (share @ values.T) / share.sum(axis=1, keepdims=True)
            folds.append(np.sqrt(mean) if self.root else mean)
        return np.asarray(np.mean(folds, axis=0), np.float64)

    def same_draws(self, other: Items) -> bool:
        """Whether both runs were judged on the same items with the same seeds."""
        return self.seeds == other.seeds and dict(self.names) == dict(other.names)


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
    own: dict[tuple[str, str], float] = {}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in metrics.read(path):
        if row.target == target and not row.item and row.metric == metric:
            own[row.fold, row.seed] = row.value
        if row.target == target and row.item and row.metric == source:
            found.setdefault(row.fold, {}).setdefault(row.seed, {})[row.item] = row.value
    if not found:
        return "this metric is not one of single items"
    numbers = tuple(sorted({seed for by_seed in found.values() for seed in by_seed}))
    names = {fold: tuple(next(iter(by_seed.values()))) for fold, by_seed in sorted(found.items())}
    if any(set(by_seed.get(seed, ())) != set(names[fold]) for fold, by_seed in found.items() for seed in numbers):
        return "seeds differ in their test items"
    if metric in POOLED and not all(item in (frames or {}) for items in names.values() for item in items):
        return "the number of frames of each item is not at hand"
    known = frames or {}
    values = {
        fold: np.array([[found[fold][seed][item] for item in items] for seed in numbers])
        for fold, items in names.items()
    }
    weights = {
        fold: np.array([known[item] if metric in POOLED else 1 for item in items], np.float64)
        for fold, items in names.items()
    }
    items = Items(run, numbers, names, values, weights, root)
    return _unlike_the_replicas(items, own, _SLACK.get(metric, 0.0)) or items


def _unlike_the_replicas(items: Items, own: Mapping[tuple[str, str], float], slack: float) -> str:
    """Whether the statistic of the items is what the replicas' own rows say: only then may it be drawn anew."""
    for fold, values in items.values.items():
        one = Items("", items.seeds, {fold: items.names[fold]}, {fold: values}, {fold: items.weights[fold]}, items.root)
        again = one.statistic([np.ones((1, values.shape[1]))])[0]
        for seed, value in zip(items.seeds, again, strict=True):
            if not np.isclose(value, own.get((fold, seed), np.nan), rtol=1e-9, atol=1e-12 + slack):
                return "the items' own metrics do not add up to this one"
    return ""


def interval(items: Items, identity: Sequence[str], seed: int) -> Interval:
    """The interval of a cell.

    Args:
        items: what the cell was computed from.
        identity: what is measured (run, target, metric): cells that show the same number have the same interval.
        seed: the study's root seed.
    """
    if max(items.sizes) < 2:
        return Interval(None, None, _alone(items))
    low, high = bootstrap_interval(
        items.sizes,
        lambda counts: items.statistic(counts).mean(axis=1),
        seed=seeds.derive(seed, "bootstrap", *identity),
    )
    return Interval(low, high, _method(items))


def paired(treated: Items, without: Items, identity: Sequence[str], seed: int) -> Interval:
    """The interval of the difference treated - without, on the same draws of the same items.

    Args:
        treated: the cell's items.
        without: those of the run that it is compared with.
        identity: what is measured (both runs, target, metric).
        seed: the study's root seed.
    """
    if not treated.same_draws(without):
        return Interval(None, None, "other test items or seeds than what it is compared with")
    if max(treated.sizes) < 2:
        return Interval(None, None, _alone(treated))
    low, high = bootstrap_interval(
        treated.sizes,
        lambda counts: (treated.statistic(counts) - without.statistic(counts)).mean(axis=1),
        seed=seeds.derive(seed, "bootstrap", *identity),
    )
    return Interval(low, high, f"paired {_method(treated)}")


def mean_change(pairs: Sequence[tuple[Float, Float]], better: str, kind: str = "relative") -> Float:
    """How much better a metric is than what it is compared with, mean over models; a gain is positive.

    ULDA sec. 4.4 gives MSE and PCC relative to the baseline and calls the gains of the F-score absolute.

    Args:
        pairs: (treated, without) for each model, each [..., S] over seeds.
        better: `lower` or `higher`.
        kind: `relative`: in per cent of what it is compared with. The mean over seeds is what is divided by, so that
            the mean of the result over seeds is the relative change of the means (as papers print it). `points`: the
            difference.

    Returns:
        [..., S].

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


def change_interval(
    pairs: Sequence[tuple[Items, Items]], better: str, identity: Sequence[str], seed: int, kind: str = "relative"
) -> Interval:
    """The interval of `mean_change`: all runs of all models are judged on the same draws of the same items."""
    first = pairs[0][0]
    if not all(first.same_draws(items) for pair in pairs for items in pair):
        return Interval(None, None, "the runs differ in their test items or seeds")
    if max(first.sizes) < 2:
        return Interval(None, None, _alone(first))
    try:
        low, high = bootstrap_interval(
            first.sizes,
            lambda counts: mean_change(
                [(treated.statistic(counts), without.statistic(counts)) for treated, without in pairs], better, kind
            ).mean(axis=-1),
            seed=seeds.derive(seed, "bootstrap", *identity),
        )
    except ComputeError as error:
        return Interval(None, None, f"on some draws of the test items {error.what}")
    return Interval(low, high, f"paired {_method(first)}")


def _alone(items: Items) -> str:
    return "one test item" if len(items.sizes) == 1 else "one test item in each fold"


def _method(items: Items) -> str:
    folds = len(items.sizes)
    over = f"{sum(items.sizes)} test items" + (f" of {folds} folds" if folds > 1 else "")
    alone = sum(size == 1 for size in items.sizes)
    narrow = f"; too narrow: {alone} of them have one item" if alone else ""
    return f"95 % percentile bootstrap over {over}, {DRAWS} draws{narrow}"
