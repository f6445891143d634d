"""The numbers of ULDA Fig. 4: how alike training and test labels are, before and after convolution; errors by label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from utopia.arrays import Arrays
from utopia.config.study import Distribution
from utopia.distribution.convolve import convolve
from utopia.distribution.histogram import bin_index, bin_total, count_bins
from utopia.distribution.kernel import taps
from utopia.evaluation.metrics import pcc
from utopia.evaluation.protocols import replicas_of
from utopia.labels.read import Labels

Float = NDArray[np.float64]

REGIONS = ("I", "II", "III")
"""Labels with many, few and no training samples."""


@dataclass(frozen=True)
class Fold:
    """Label distributions of one fold, pooled over its videos; b bins."""

    name: str
    train: Float
    """Training frames per bin [b]."""
    test: Float
    """Test frames per bin [b], by the label that predictions are judged by."""
    train_convolved: Float
    test_convolved: Float

    @property
    def before(self) -> float:
        """PCC of the two distributions over the bins."""
        return pcc(share(self.train), share(self.test))

    @property
    def after(self) -> float:
        """The same with the training labels convolved: what training sees, against what it is judged by."""
        return pcc(share(self.train_convolved), share(self.test))

    @property
    def both(self) -> float:
        """The same with both convolved [U]; a convolution makes any two histograms more alike."""
        return pcc(share(self.train_convolved), share(self.test_convolved))


def share(count: Float) -> Float:
    """A histogram divided by its sum."""
    return count / count.sum()


def folds(labels: Labels, target: str, settings: Distribution) -> list[Fold]:
    """The label distributions of every fold."""
    found = []
    for fold in labels.folds:
        train = _pooled([labels.label(item, target) for item in fold["train"]], settings)
        test = _pooled([labels.evaluation(item, target) for item in fold["test"]], settings)
        both = (convolve(count, taps(settings), settings.boundary) for count in (train, test))
        found.append(Fold(fold["name"], train, test, *both))
    return found


def _pooled(series: list[np.ndarray], settings: Distribution) -> Float:
    bins = bin_total(settings)
    return np.sum([count_bins(bin_index(label, settings), bins) for label in series], axis=0)


def region_of(train: Float, many: float | None = None) -> NDArray[np.int64]:
    """The region of each bin [b]: 0 (many), 1 (few), 2 (none), by the number of training frames in it.

    Args:
        train: training frames per bin [b].
        many: more than this is many; None: the median over the bins that have any.
    """
    positive = train[train > 0]
    threshold = float(np.median(positive)) if many is None and len(positive) else float(many or 0)
    return np.where(train == 0, 2, np.where(train > threshold, 0, 1))


@dataclass(frozen=True)
class Errors:
    """Squared errors of every test frame of a run, over all folds and seeds; N of them."""

    squared: Float
    """[N]."""
    bin: NDArray[np.int64]
    """Bin of the judged label [N]."""
    region: NDArray[np.int64]
    """Region of that bin in its fold [N]."""
    by_fold: Mapping[str, float]
    """Pooled MSE of each fold, mean over seeds."""
    by_item: Mapping[tuple[str, str], float]
    """MSE of each test item of a fold, mean over seeds."""

    def by_bin(self, bins: int) -> tuple[Float, Float, Float]:
        """Mean, 5 % and 95 % quantile of the squared error in each bin [b]; NaN where there is no test frame."""
        mean, low, high = (np.full(bins, np.nan) for _ in range(3))
        for index in np.unique(self.bin):
            here = self.squared[self.bin == index]
            mean[index] = here.mean()
            low[index], high[index] = np.quantile(here, (0.05, 0.95))
        return mean, low, high

    def extremes(self, bins: int) -> tuple[Float, Float]:
        """Smallest and largest squared error in each bin [b]; NaN where there is no test frame."""
        low, high = np.full(bins, np.nan), np.full(bins, np.nan)
        for index in np.unique(self.bin):
            here = self.squared[self.bin == index]
            low[index], high[index] = here.min(), here.max()
        return low, high

    def by_region(self) -> list[tuple[float, int]]:
        """MSE and number of test frames of each region; NaN where there is none."""
        picked = [self.squared[self.region == index] for index in range(len(REGIONS))]
        return [(float(here.mean()) if len(here) else float("nan"), len(here)) for here in picked]


def errors(
    labels: Labels, stored: Arrays, target: str, settings: Distribution, known: list[Fold], many: float | None = None
) -> Errors:
    """Squared errors of a run's predictions against the judged labels.

    Args:
        labels: the labels file.
        stored: the run's predictions.
        target: which target.
        settings: bins.
        known: the folds' distributions.
        many: see `region_of`.
    """
    regions = {fold.name: region_of(fold.train, many) for fold in known}
    squared, bins, region = [], [], []
    mse: dict[str, list[float]] = {}
    of_item: dict[tuple[str, str], list[float]] = {}
    for (replica_target, fold, seed), items in sorted(replicas_of(stored).items()):
        if replica_target != target:
            continue
        own = []
        for item in sorted(items):
            label = labels.evaluation(item, target).astype(np.float64)
            own.append((stored[f"{target}/{fold}/{seed}/{item}"].astype(np.float64) - label) ** 2)
            of_item.setdefault((fold, item), []).append(float(own[-1].mean()))
            bins.append(bin_index(label, settings))
            region.append(regions[fold][bins[-1]])
        squared += own
        mse.setdefault(fold, []).append(float(np.concatenate(own).mean()))
    return Errors(
        np.concatenate(squared),
        np.concatenate(bins),
        np.concatenate(region),
        {fold: float(np.mean(values)) for fold, values in mse.items()},
        {key: float(np.mean(values)) for key, values in of_item.items()},
    )


def item_gain(labels: Labels, item: str, target: str, settings: Distribution, fold: Fold) -> float:
    """What convolving the training labels adds to the PCC of their distribution with that of one test item."""
    test = share(_pooled([labels.evaluation(item, target)], settings))
    return pcc(share(fold.train_convolved), test) - pcc(share(fold.train), test)
