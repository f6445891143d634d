"""EEV 2021's metric (sec. 1): Pearson's correlation over time, mean over reactions, then over videos."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from utopia.errors import ComputeError

Rule = Literal["zero", "minus_one", "skip"]

EPSILON = 1e-6
"""Added to the denominator by the reference code, so that a constant series has correlation 0."""
_CONSTANT = 1e-12


def correlations(prediction_TC: ArrayLike, label_TC: ArrayLike, rule: Rule = "zero") -> NDArray[np.float64]:
    """Pearson's r of each reaction [C] in one video, in float64: the covariance over sqrt(..) sqrt(..) + 1e-6, of sums.

    Args:
        prediction_TC: predictions.
        label_TC: labels, on the same grid.
        rule: what r is where a series is constant: 0 (the reference), -1 (another team's code), or not a number, to be
            left out of means. The official evaluator's rule is not published [U].

    Raises:
        ComputeError: shapes differ, or a value is not finite.
    """
    p, y = np.asarray(prediction_TC, np.float64), np.asarray(label_TC, np.float64)
    if p.shape != y.shape or p.ndim != 2 or not p.size:
        raise ComputeError(f"a correlation needs two series of one shape [T, C], not {p.shape} and {y.shape}")
    if not (np.isfinite(p).all() and np.isfinite(y).all()):
        raise ComputeError("a series holds values that are not finite")
    constant_C = _constant(p) | _constant(y)
    p, y = p - p.mean(axis=0), y - y.mean(axis=0)
    scale_C = np.sqrt((p * p).sum(axis=0)) * np.sqrt((y * y).sum(axis=0)) + EPSILON
    r_C = (p * y).sum(axis=0) / scale_C
    r_C[constant_C] = {"zero": 0.0, "minus_one": -1.0, "skip": np.nan}[rule]
    return r_C


def of_video(r_C: NDArray[np.float64]) -> float | None:
    """The mean over reactions; None where there is none to take a mean of."""
    known = r_C[np.isfinite(r_C)]
    return float(known.mean()) if known.size else None


def of_videos(values: list[float | None]) -> float:
    """The mean over videos that have a value.

    Raises:
        ComputeError: there is none.
    """
    known = [value for value in values if value is not None]
    if not known:
        raise ComputeError("no video has a correlation: every series is constant")
    return float(np.mean(known))


def _constant(series_TC: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.ptp(series_TC, axis=0) <= _CONSTANT * np.maximum(1.0, np.abs(series_TC).max(axis=0))
