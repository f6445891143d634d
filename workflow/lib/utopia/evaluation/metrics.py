"""Metrics of one predicted series against one label, in float64 whatever the inputs are.

Correlations of a constant series are not defined; here they are 0 by rule (a constant prediction says nothing about the
order or the course of the label), so that a model which collapses to a constant is scored and not dropped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from utopia.errors import ComputeError

# A float32 series that is constant up to rounding must count as constant: float64 sums of equal numbers are not exact.
_CONSTANT = 1e-12
_FEW_LEVELS = 32
TITLES = {"mse": "MSE", "rmse": "RMSE", "pcc": "PCC", "f_score": "F-score", "wasserstein": "W1", "w1": "W1"}
"""Metrics as the papers' tables name them; any other has its own name."""


def _pair(prediction: ArrayLike, label: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    p, y = np.asarray(prediction, np.float64), np.asarray(label, np.float64)
    if p.shape != y.shape or p.ndim != 1:
        raise ComputeError(f"a metric needs two series of one length, not shapes {p.shape} and {y.shape}")
    if not p.size:
        raise ComputeError("a metric of an empty series is not defined")
    if not (np.isfinite(p).all() and np.isfinite(y).all()):
        raise ComputeError("a series holds values that are not finite")
    return p, y


def is_constant(series: ArrayLike) -> bool:
    """Whether a series varies no more than rounding does."""
    x = np.asarray(series, np.float64)
    return bool(np.ptp(x) <= _CONSTANT * max(1.0, float(np.abs(x).max())))


def mse(prediction: ArrayLike, label: ArrayLike) -> float:
    """Mean squared error of two series [T].

    Raises:
        ComputeError: lengths differ, the series are empty or hold values that are not finite (so do all metrics here).
    """
    p, y = _pair(prediction, label)
    return float(np.mean((p - y) ** 2))


def rmse(prediction: ArrayLike, label: ArrayLike) -> float:
    """Root of the mean squared error of two series [T]."""
    return float(np.sqrt(mse(prediction, label)))


def pcc(prediction: ArrayLike, label: ArrayLike) -> float:
    """Pearson's correlation of two series [T]; 0 where either is constant."""
    p, y = _pair(prediction, label)
    if is_constant(p) or is_constant(y):
        return 0.0
    p, y = p - p.mean(), y - y.mean()
    r = float(p @ y / (np.sqrt(p @ p) * np.sqrt(y @ y)))
    return min(1.0, max(-1.0, r))


def kendall(prediction: ArrayLike, label: ArrayLike) -> float:
    """Kendall's tau-b (ties corrected) of two series [T]; 0 where either is constant."""
    p, y = _pair(prediction, label)
    if is_constant(p) or is_constant(y):
        return 0.0
    from scipy.stats import kendalltau  # a second to import: only who needs it pays

    return float(kendalltau(p, y).statistic)


def spearman(prediction: ArrayLike, label: ArrayLike) -> float:
    """Spearman's correlation of two series [T]: Pearson's of the ranks, ties sharing the mean; 0 if one is constant."""
    p, y = _pair(prediction, label)
    if is_constant(p) or is_constant(y):
        return 0.0
    return pcc(_ranks(p), _ranks(y))


def kendall_each(prediction: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Kendall's tau-b of one series [T] with each of several [U, T], as `kendall` gives it: [U].

    Votes take few values, so pairs are counted by value in one pass: a loop over users would cost more than all else
    that is evaluated of a summary.
    """
    p, y_UT = np.asarray(prediction, np.float64), np.atleast_2d(np.asarray(labels, np.float64))
    levels, level_UT = np.unique(y_UT, return_inverse=True)
    if len(levels) > _FEW_LEVELS:
        return np.array([kendall(p, y) for y in y_UT])
    for y in y_UT:
        _pair(p, y)
    if is_constant(p):
        return np.zeros(len(y_UT))
    order = np.argsort(p, kind="stable")
    p, level_UT = p[order], level_UT.reshape(y_UT.shape)[:, order]
    smaller_T = np.searchsorted(p, p, side="left")
    """Of each step, how many have a smaller prediction: the ones in front of it but for ties."""
    at_UTK = level_UT[:, :, None] == np.arange(len(levels))
    count_UTK = np.zeros((len(y_UT), len(p) + 1, len(levels)), np.int64)
    np.cumsum(at_UTK, axis=1, out=count_UTK[:, 1:])
    up_to_UTK = np.cumsum(count_UTK[:, smaller_T], axis=2)
    up_to_UT = np.take_along_axis(up_to_UTK, level_UT[:, :, None], axis=2)[:, :, 0]
    same_UT = np.take_along_axis(count_UTK[:, smaller_T], level_UT[:, :, None], axis=2)[:, :, 0]
    # labels below (concordant) less labels above (discordant), of the steps with a smaller prediction
    score_U = ((up_to_UT - same_UT) - (smaller_T - up_to_UT)).sum(axis=1)
    of_level_UK = count_UTK[:, -1]
    pairs = len(p) * (len(p) - 1) // 2
    _, tied = np.unique(p, return_counts=True)
    untied = pairs - int((tied * (tied - 1) // 2).sum())
    untied_U = pairs - (of_level_UK * (of_level_UK - 1) // 2).sum(axis=1)
    return np.divide(score_U, np.sqrt(float(untied) * untied_U), out=np.zeros(len(y_UT)), where=untied_U > 0)


def spearman_each(prediction: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Spearman's correlation of one series [T] with each of several [U, T], as `spearman` gives it: [U]."""
    p, y_UT = np.asarray(prediction, np.float64), np.atleast_2d(np.asarray(labels, np.float64))
    for y in y_UT:
        _pair(p, y)
    if is_constant(p):
        return np.zeros(len(y_UT))
    rank_T = _ranks(p)
    return np.array([0.0 if is_constant(y) else pcc(rank_T, _ranks(y)) for y in y_UT])


def wasserstein(prediction: ArrayLike, ratings: ArrayLike) -> float:
    """Wasserstein-1 distance of the distribution of a prediction [T] from that of all ratings [U, T], in label units.

    Both are taken over the frames of an item, so that it says how well a model predicts which labels raters give and
    how often, not when. Ratings that were not given (not finite) are left out.

    Raises:
        ComputeError: the prediction is empty or not finite, or no rating was given.
    """
    from scipy.stats import wasserstein_distance

    p, r = np.asarray(prediction, np.float64), np.asarray(ratings, np.float64).ravel()
    r = r[np.isfinite(r)]
    if not (p.size and r.size and np.isfinite(p).all()):
        raise ComputeError("the distance of two distributions needs finite values of both")
    return float(wasserstein_distance(p, r))


def wasserstein_among(ratings: ArrayLike) -> float:
    """The mean over raters of the `wasserstein` distance of one's ratings to those of all others [U, T]."""
    r_UT = np.asarray(ratings, np.float64)
    return float(np.mean([wasserstein(rating_T, np.delete(r_UT, user, axis=0)) for user, rating_T in enumerate(r_UT)]))


def _ranks(series: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, count = np.unique(series, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[inverse]
