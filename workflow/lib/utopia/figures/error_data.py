"""The numbers of ULDA Fig. 4: training against test labels, regions of the label axis, errors at each label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from utopia.arrays import Arrays
from utopia.config.study import Distribution
from utopia.distribution.convolve import convolve
from utopia.distribution.histogram import bin_index, bin_total, count_bins
from utopia.distribution.kernel import taps
from utopia.evaluation.metrics import is_constant, pcc
from utopia.evaluation.predictions import replicas_of
from utopia.labels.read import Labels

Float = NDArray[np.float64]

REGIONS = ("I", "II", "III")
"""Stretches of the label axis: few training samples, many, few."""
PAPER_THRESHOLD, PAPER_SAMPLES, PAPER_LABELS = 500, 97_000, 100
"""What parts region II from I and III: more than 500 training samples at a label (ULDA sec. 4.5), where 100 labels (b,
sec. 4.3) share, as far as is known, the 27 hours of the 54 development movies, one sample a second [U]."""
HIGH = PAPER_THRESHOLD * PAPER_LABELS / PAPER_SAMPLES
"""The same for a study of any size: a label is in region II with more than this share of the mean number per label."""


@dataclass(frozen=True)
class FoldDistributions:
    """Label distributions of one fold, pooled over its videos; b bins."""

    name: str
    train: Float
    """Training frames per bin [b]."""
    test: Float
    """Test frames per bin [b], by the label that predictions are compared with."""
    train_convolved: Float
    """Training frames per bin after the convolution [b]."""

    def before(self, where: slice = slice(None)) -> float | None:
        """PCC of training and test distribution over the bins of a stretch; see `likeness`."""
        return likeness(share(self.train)[where], share(self.test)[where])

    def after(self, where: slice = slice(None)) -> float | None:
        """The same with the training labels convolved: what training sees, against what it is judged by."""
        return likeness(share(self.train_convolved)[where], share(self.test)[where])


def share(count: Float) -> Float:
    """A histogram divided by its sum."""
    return count / count.sum()


def likeness(first: Float, second: Float) -> float | None:
    """PCC of two stretches of distributions; None where it is not defined: fewer than two bins, or one is constant."""
    return None if len(first) < 2 or is_constant(first) or is_constant(second) else float(pcc(first, second))


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean over folds; None where it is not defined in one of them."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def folds(labels: Labels, target: str, settings: Distribution) -> list[FoldDistributions]:
    """The label distributions of every fold."""
    made = []
    for fold in labels.folds:
        train = _pooled([labels.label(item, target) for item in fold["train"]], settings)
        test = _pooled([labels.evaluation(item, target) for item in fold["test"]], settings)
        made.append(FoldDistributions(fold["name"], train, test, convolve(train, taps(settings), settings.boundary)))
    return made


def _pooled(series: list[np.ndarray], settings: Distribution) -> Float:
    bins = bin_total(settings)
    return np.sum([count_bins(bin_index(label, settings), bins) for label in series], axis=0)


@dataclass(frozen=True)
class Regions:
    """The three contiguous stretches of the label axis (ULDA sec. 4.5)."""

    threshold: float
    """Training frames at a label; region II holds every label that has more."""
    first: int
    """The first bin of region II."""
    stop: int
    """The bin after its last one."""
    bins: int

    @property
    def slices(self) -> dict[str, slice]:
        """The bins of each region, by name; those of I or III may be none."""
        ends = (0, self.first, self.stop, self.bins)
        return {name: slice(*pair) for name, pair in zip(REGIONS, pairwise(ends), strict=True)}

    def of(self, bins: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of the region (from 0) of each bin."""
        return np.digitize(bins, [self.first, self.stop])


def regions_of(train: Float, threshold: float | None = None) -> Regions:
    """Part the label axis: region II reaches from the first to the last label above the threshold.

    So I and III, left and right of it, hold no label above the threshold. Where labels just above and below it
    alternate, some of region II may lie below: the paper does not say how it treats these [U].

    Args:
        train: training frames per bin [b].
        threshold: in training frames; None: `HIGH` times the mean number per label.
    """
    limit = HIGH * float(train.sum()) / len(train) if threshold is None else float(threshold)
    above = np.flatnonzero(train > limit)
    first, stop = (int(above[0]), int(above[-1]) + 1) if len(above) else (len(train), len(train))
    return Regions(limit, first, stop, len(train))


@dataclass(frozen=True)
class Errors:
    """Squared errors of every test frame of a run, over all folds and repeats; N of them."""

    squared: Float
    """[N]."""
    bin: NDArray[np.int64]
    """Bin of the evaluation label [N]."""
    by_fold: Mapping[str, float]
    """Pooled MSE of each fold, mean over repeats."""
    by_item: Mapping[tuple[str, str], float]
    """MSE of each test item of a fold, mean over repeats."""

    def at(self, where: slice) -> Float:
        """The squared errors of the frames whose label lies in a stretch of bins."""
        return self.squared[(self.bin >= where.start) & (self.bin < where.stop)]

    def by_label(self, bins: int) -> tuple[Float, Float, Float]:
        """Mean, minimum and maximum of the squared error at each label [b]; NaN where there is no test frame."""
        mean, low, high = (np.full(bins, np.nan) for _ in range(3))
        for index in np.unique(self.bin):
            here = self.squared[self.bin == index]
            mean[index], low[index], high[index] = here.mean(), here.min(), here.max()
        return mean, low, high

    def mean_range(self, where: slice, bins: int) -> float:
        """How wide the ribbon is: maximum less minimum, mean over the labels of a stretch that have test frames."""
        _, low, high = self.by_label(bins)
        width = (high - low)[where]
        return float(np.nanmean(width)) if (~np.isnan(width)).any() else float("nan")


def errors(labels: Labels, stored: Arrays, target: str, settings: Distribution) -> Errors:
    """Squared errors of a run's predictions against the evaluation labels.

    Args:
        labels: the labels file.
        stored: the run's predictions.
        target: which target.
        settings: bins.
    """
    squared, bins = [], []
    mse: dict[str, list[float]] = {}
    of_item: dict[tuple[str, str], list[float]] = {}
    for (replica_target, fold, repeat), items in sorted(replicas_of(stored).items()):
        if replica_target != target:
            continue
        of_replica = []
        for item in sorted(items):
            label = labels.evaluation(item, target).astype(np.float64)
            of_replica.append((stored[f"{target}/{fold}/{repeat}/{item}"].astype(np.float64) - label) ** 2)
            of_item.setdefault((fold, item), []).append(float(of_replica[-1].mean()))
            bins.append(bin_index(label, settings))
        squared += of_replica
        mse.setdefault(fold, []).append(float(np.concatenate(of_replica).mean()))
    return Errors(
        np.concatenate(squared),
        np.concatenate(bins),
        {fold: float(np.mean(values)) for fold, values in mse.items()},
        {key: float(np.mean(values)) for key, values in of_item.items()},
    )


def item_gain(labels: Labels, item: str, target: str, settings: Distribution, fold: FoldDistributions) -> float | None:
    """What convolving the training labels adds to the PCC of their distribution with that of one test item."""
    test = share(_pooled([labels.evaluation(item, target)], settings))
    before, after = likeness(share(fold.train), test), likeness(share(fold.train_convolved), test)
    return None if before is None or after is None else after - before
