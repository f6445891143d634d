"""The control that no method can do better than: the distribution of what the annotators behind no label say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from utopia.config.study import Distribution
from utopia.distribution.histogram import bin_index, bin_total, count_bins
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
