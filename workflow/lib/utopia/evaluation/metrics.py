"""Metrics of one predicted against one judged series, in float64 whatever the inputs are.

Correlations of a constant series are not defined; here they are 0 by rule (a constant prediction says nothing about the
order or the course of the label), so that a model which collapses to a constant is scored and not dropped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from utopia.errors import ComputeError

# A float32 series that is constant up to rounding must count as constant: float64 sums of equal numbers are not exact.
_CONSTANT = 1e-12


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


def ccc(prediction: ArrayLike, label: ArrayLike) -> float:
    """Lin's concordance correlation of two series [T], with population variances; 0 where either is constant."""
    p, y = _pair(prediction, label)
    if is_constant(p) or is_constant(y):
        return 0.0
    covariance = float(np.mean((p - p.mean()) * (y - y.mean())))
    return 2 * covariance / float(p.var() + y.var() + (p.mean() - y.mean()) ** 2)


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


def _ranks(series: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, count = np.unique(series, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[inverse]
