"""Intervals around means of few repeats and few items, the p-values that belong to them, and Holm's adjustment."""

from __future__ import annotations

import math
from collections.abc import Sequence

from utopia.errors import ComputeError

SMALLEST_P = 1e-12
"""Smaller p-values are given as this one: no test of a few items can tell them apart."""


def t_quantile(degrees: float, level: float = 0.95) -> float:
    """The two-sided quantile of Student's t distribution (level 0.95: the 0.975 quantile)."""
    return _quantile(degrees, 1 - level)


def _quantile(degrees: float, outside: float) -> float:
    """The value beyond which, on either side, `outside` of Student's t distribution lies."""
    from scipy.special import stdtrit

    return -float(stdtrit(degrees, outside / 2))


def t_half_width(std: float, n: int, *, other: int | None = None, level: float = 0.95) -> float:
    """Half the width of the t interval of a mean of `n` repeats with sample deviation `std`.

    Args:
        std: standard deviation over the repeats (ddof 1).
        n: number of repeats.
        other: for the difference to another mean, of `other` repeats of the same spread: widens sqrt(1/n) to
            sqrt(1/n + 1/other).
        level: coverage.

    Raises:
        ComputeError: fewer than two repeats have no spread.
    """
    if n < 2:
        raise ComputeError("an interval needs at least two repeats")
    return t_quantile(n - 1, level) * std * math.sqrt(1 / n + (1 / other if other else 0.0))


def sum_half_width(parts: Sequence[tuple[float, float]], level: float = 0.95) -> float:
    """Half the width of the interval of a mean whose error is a sum of independent parts, each with its own variance.

    sqrt(sum of t_d^2 v) over the parts (v, d): Student's quantile of each part's degrees of freedom widens that part
    alone (Howe, 1974, JASA 69: 789-794). One part alone gives the t interval.

    Args:
        parts: estimated variance of each part of the error, and its degrees of freedom.
        level: coverage.
    """
    return _half_width(parts, 1 - level)


def _half_width(parts: Sequence[tuple[float, float]], outside: float) -> float:
    return math.sqrt(sum(variance * _quantile(degrees, outside) ** 2 for variance, degrees in parts if variance > 0))


def two_sided_p(distance: float, parts: Sequence[tuple[float, float]]) -> float:
    """The level at which `sum_half_width` just reaches a distance, as a p-value; 0 of a mean without any error.

    Args:
        distance: of the mean from the value that it is tested against.
        parts: see `sum_half_width`.
    """
    if distance == 0:
        return 1.0
    low, high = math.log(SMALLEST_P), 0.0
    if _half_width(parts, SMALLEST_P) <= abs(distance):
        return SMALLEST_P if any(variance > 0 for variance, _ in parts) else 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if _half_width(parts, math.exp(middle)) < abs(distance) else (middle, high)
    return math.exp((low + high) / 2)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values of a family of tests, in the order given (Holm, 1979, Scand. J. Statist. 6: 65-70)."""
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
