"""Intervals around means of few repeats, and around means over items."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from utopia.errors import ComputeError

DRAWS = 10_000
"""Bootstrap samples: the ends of a 95 % interval then repeat to about 1 % of its width."""


def t_quantile(degrees: int, level: float = 0.95) -> float:
    """The two-sided quantile of Student's t distribution (level 0.95: the 0.975 quantile)."""
    from scipy.stats import t

    return float(t.ppf(0.5 + level / 2, degrees))


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


def t_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """The t interval of the mean of repeats [n].

    Raises:
        ComputeError: fewer than two repeats.
    """
    x = np.asarray(values, np.float64)
    half = t_half_width(float(x.std(ddof=1)) if x.size > 1 else 0.0, x.size, level=level)
    return float(x.mean()) - half, float(x.mean()) + half


def bootstrap_interval(
    sizes: Sequence[int],
    statistic: Callable[[list[NDArray[np.float64]]], NDArray[np.float64]],
    *,
    seed: int,
    draws: int = DRAWS,
    level: float = 0.95,
) -> tuple[float, float]:
    """The percentile bootstrap interval of a statistic over items: they are drawn with replacement within each group.

    Args:
        sizes: items of each group (fold) [G].
        statistic: from how often each item was drawn, [draws, n_g] for each group, to the statistic [draws].
        seed: same seed, same interval.
        draws: bootstrap samples.
        level: coverage.

    Raises:
        ComputeError: a group has no item.
    """
    if not sizes or min(sizes) < 1:
        raise ComputeError("a bootstrap needs at least one item in each group")
    rng = np.random.default_rng(seed)
    counts = [rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64) for n in sizes]
    low, high = np.quantile(statistic(counts), (0.5 - level / 2, 0.5 + level / 2))
    return float(low), float(high)
