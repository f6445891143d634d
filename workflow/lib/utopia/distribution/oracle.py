"""The control that no method can do better than: the true distribution, planted or of annotators behind no label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from utopia.config.study import Distribution
from utopia.distribution.histogram import bin_edges, bin_index, bin_total, count_bins
from utopia.errors import InputError


def held_out_counts(votes_AT: NDArray[np.floating], settings: Distribution, *, where: str = "") -> NDArray[np.float64]:
    """n~ [b]: the histogram of the mean votes of annotators who are not behind the training label.

    Args:
        votes_AT: their votes in label units [A, T]; NaN: no vote.
        settings: bins and range.
        where: the series, for messages.

    Returns:
        n~, which sums to T also where some frames have no vote.

    Raises:
        InputError: none of them voted.
        ComputeError: a mean lies outside the range.
    """
    votes_AT = np.asarray(votes_AT, np.float64)
    voted_AT = np.isfinite(votes_AT)
    count_T = voted_AT.sum(axis=0)
    if not count_T.any():
        raise InputError(
            "no annotator is left who is not behind the training label",
            where=where,
            why="the oracle's distribution is that of the annotators who are held out",
            remedy="make the label of fewer: set `label_annotators` in this data set's options",
        )
    mean_T = np.where(voted_AT, votes_AT, 0.0).sum(axis=0)[count_T > 0] / count_T[count_T > 0]
    count_b = count_bins(bin_index(mean_T, settings, where=where), bin_total(settings))
    return count_b * (len(count_T) / len(mean_T))


def planted_counts(law_2T: NDArray[np.floating], settings: Distribution, *, where: str = "") -> NDArray[np.float64]:
    """n~ [b] of utopia labels that were drawn from a known law: how many of T frames each bin holds on average.

    Args:
        law_2T: the mean of a frame's utopia label and its deviation about that (0: it is the mean itself) [2, T].
        settings: bins and range; what lies beyond the range is in the outer bins.
        where: the series, for messages.

    Returns:
        n~, which sums to T.

    Raises:
        ComputeError: a mean that has no deviation lies outside the range.
    """
    from scipy.special import ndtr

    mean_T, deviation_T = np.asarray(law_2T, np.float64)
    still_T = deviation_T <= 0
    count_b = np.zeros(bin_total(settings))
    if still_T.any():
        count_b += count_bins(bin_index(mean_T[still_T], settings, where=where), bin_total(settings))
    spread_T = ~still_T
    inner_b = bin_edges(settings)[1:-1]
    below_b = ndtr((inner_b - mean_T[spread_T, None]) / deviation_T[spread_T, None]).sum(axis=0)
    return count_b + np.diff(below_b, prepend=0.0, append=float(spread_T.sum()))
