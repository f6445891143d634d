"""Which labels are rare: the relevance function of Torgo et al. (2013), which SmoteR and REBAGG share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
NORMAL, LOW, HIGH = 0, 1, 2
"""Domains of labels: not rare, rare below and rare above the median."""


@dataclass(frozen=True)
class Relevance:
    """phi: 0 at the median, 1 from the box plot's adjacent value on, a monotone cubic, level at its ends, between.

    As in the authors' package (UBL), a side without outliers of the box plot has no rare labels: phi is 0 there.
    """

    adjacent_low: float
    """Lowest label within reach of the lower quartile; -inf where none lies beyond."""
    median: float
    adjacent_high: float
    """Highest label within reach of the upper quartile; inf where none lies beyond."""

    @classmethod
    def of(cls, label_N: Float) -> Relevance:
        """The relevance of labels like these.

        Adjacent values are the last labels within 1.5 quartile distances of the quartiles; quartiles are Tukey's hinges
        (the median belongs to both halves), as in R's box plot.
        """
        label_N = np.sort(label_N)
        half = (len(label_N) + 1) // 2
        low, median, high = np.median(label_N[:half]), np.median(label_N), np.median(label_N[-half:])
        reach = 1.5 * (high - low)
        below_N, above_N = label_N < low - reach, label_N > high + reach
        within = label_N[~below_N & ~above_N]
        return cls(
            float(within.min(initial=median)) if below_N.any() else -math.inf,
            float(median),
            float(within.max(initial=median)) if above_N.any() else math.inf,
        )

    def phi(self, label_N: Float) -> Float:
        """Relevance of labels [N], in [0, 1].

        0 on a side without outliers; 1 for all beyond the median where the adjacent value is the median.
        """
        beyond_N = label_N - self.median
        reach_N = np.where(beyond_N < 0, self.median - self.adjacent_low, self.adjacent_high - self.median)
        t_N = np.divide(np.abs(beyond_N), reach_N, out=np.where(beyond_N == 0, 0.0, 1.0), where=reach_N > 0).clip(max=1)
        phi_N: Float = t_N**2 * (3 - 2 * t_N)
        return phi_N

    def domain(self, label_N: Float, threshold: float) -> NDArray[np.int64]:
        """The domain of labels [N]: rare where phi is at least the threshold."""
        side_N = np.where(label_N < self.median, LOW, HIGH)
        return np.where(self.phi(label_N) >= threshold, side_N, NORMAL)


@dataclass(frozen=True)
class Population:
    """Labels whose statistics are taken together: their relevance function and how many are in each domain."""

    relevance: Relevance
    count: tuple[int, int, int]

    @classmethod
    def of(cls, label_N: Float, threshold: float) -> Population:
        """The statistics of labels [N]."""
        relevance = Relevance.of(label_N)
        normal, low, high = np.bincount(relevance.domain(label_N, threshold), minlength=3)
        return cls(relevance, (int(normal), int(low), int(high)))

    @property
    def total(self) -> int:
        """Number of labels."""
        return sum(self.count)


Scope = Literal["train_set", "per_video"]
