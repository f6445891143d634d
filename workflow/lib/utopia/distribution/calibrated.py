"""Calibrated ULDA (ours): the utopia label distribution from how much a series' own annotators disagree.

The kernel of Eq. 2 has a fixed width and can only widen a distribution, and labels that are means of few votes are
already wider than the utopia labels, by the variance of such a mean. Here that variance is estimated from the votes
(two-way random effects: series, annotators, disagreement), the labels are shrunk so that their variance is that of the
utopia labels, and then smoothed by what so many frames need, the variance kept. docs/calibrated.md derives it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from utopia.config.study import Distribution
from utopia.distribution.histogram import bin_edges, bin_index, bin_total, count_bins

Float = NDArray[np.float64]

NORMAL_REFERENCE = (4 / 3) ** 0.2
"""Standard bandwidth of a Gaussian kernel: this times deviation times m^(-1/5), of least error for normal data."""


STILL = 1e-18
"""A variance below this is rounding noise of equal labels."""


class Noise(NamedTuple):
    """What the votes of a series say of the error of their mean; variances in label units squared."""

    of_vote: float
    """Variance of a single vote about the utopia label, annotators' biases taken out."""
    of_mean: float
    """Variance that the errors of the votes add to their mean over annotators."""
    degrees: int
    """Degrees of freedom behind it."""
    mean: Float
    """The mean vote of each frame that has one [T]."""


def vote_noise(votes_AT: NDArray[np.floating]) -> Noise | None:
    """The error variance of votes and of their mean under v_at = u_t + b_a + e_at (random effects, two ways).

    The residual mean square of the additive fit, which is exact least squares where votes are missing (NaN). A bias b_a
    moves all labels alike and widens nothing, unless annotators skipped frames: then the change of the mean bias from
    frame to frame is part of the label's variance.

    Args:
        votes_AT: votes in label units [A, T]; NaN: no vote.

    Returns:
        None where nothing can be estimated: fewer than two annotators, or no frame with two votes beyond what the fit
        uses up.
    """
    votes_AT = np.asarray(votes_AT, np.float64)
    voted_AT = np.isfinite(votes_AT)
    votes_AT, voted_AT = votes_AT[voted_AT.any(axis=1)], voted_AT[voted_AT.any(axis=1)]
    votes_AT, voted_AT = votes_AT[:, voted_AT.any(axis=0)], voted_AT[:, voted_AT.any(axis=0)]
    frames = votes_AT.shape[1]
    if len(votes_AT) < 2 or frames < 2:
        return None
    count_T = voted_AT.sum(axis=0)
    value_AT = np.where(voted_AT, votes_AT - votes_AT[voted_AT].mean(), 0.0)
    label_T = value_AT.sum(axis=0) / count_T
    share_AT = voted_AT / count_T
    # normal equations of the biases once the frames' effects are eliminated: a graph Laplacian of annotators
    within_AA = np.diag(voted_AT.sum(axis=1).astype(np.float64)) - voted_AT.astype(np.float64) @ share_AT.T
    bias_A, _, rank, _ = np.linalg.lstsq(within_AA, ((value_AT - label_T) * voted_AT).sum(axis=1), rcond=1e-10)
    degrees = int(voted_AT.sum()) - frames - int(rank)
    if degrees < 1:
        return None
    bias_T = bias_A @ share_AT
    residual_AT = (value_AT - label_T - bias_A[:, None] + bias_T) * voted_AT
    of_vote = float((residual_AT**2).sum() / degrees)
    return Noise(of_vote, of_vote * float((1 / count_T).mean()) + float(bias_T.var()), degrees, label_T)


def reliability(noise: Noise | None, *, judges: float = math.inf) -> float | None:
    """The share of the mean vote's variance over time that the utopia label has: (S^2 - s^2 / k) / S^2.

    With `judges`, the share that the mean of so many other votes would have; it may be above 1. A variance of the
    utopia label below the standard error of its estimate is not known to be so low: that error is the least it can be,
    so that no series collapses to one value by chance. It vanishes as frames grow.

    Args:
        noise: of the votes behind the label; see `vote_noise`.
        judges: votes that the mean aimed at is taken over; infinitely many: the utopia label.

    Returns:
        None where nothing can be estimated: there is no `noise`, or the mean vote never changes.
    """
    if noise is None:
        return None
    total = float(noise.mean.var(ddof=1))
    if total <= STILL:
        return None
    least = noise.of_mean * math.sqrt(2 / (len(noise.mean) - 1) + 2 / noise.degrees)
    return (min(max(total - noise.of_mean, least), total) + noise.of_vote / judges) / total


def calibrate(
    label_T: NDArray[np.floating],
    votes_AT: NDArray[np.floating],
    settings: Distribution,
    *,
    judges: float = math.inf,
    where: str = "",
) -> Float:
    """n~ [b]: how many of the T frames each bin would hold, were everybody asked.

    Args:
        label_T: labels [T]: the means of the votes, or an affine function of them.
        votes_AT: the votes behind them, in label units [A, T]; NaN: no vote.
        settings: bins and range; kernel and boundary play no part.
        judges: votes that each mean of the distribution aimed at is taken over; infinitely many: the utopia label.
        where: the series, for messages.

    Returns:
        n~, which sums to T. Where nothing can be estimated (one annotator, or labels that are all equal), n itself.

    Raises:
        ComputeError: a label is not a number or outside the range.
    """
    label_T = np.asarray(label_T, dtype=np.float64)
    count_b = count_bins(bin_index(label_T, settings, where=where), bin_total(settings))
    shrunk = shrink(label_T, reliability(vote_noise(votes_AT), judges=judges))
    return count_b if shrunk is None else smooth(*shrunk, settings)


def shrink(label_T: NDArray[np.floating], share: float | None) -> tuple[Float, float] | None:
    """Labels brought to the variance `share` times their own, and the bandwidth that is part of that variance.

    Args:
        label_T: labels [T].
        share: their reliability; None: not known.

    Returns:
        Centres [T] and the deviation of the Gaussian that each stands for; None where there is nothing to shrink.
    """
    variance = float(label_T.var())
    if share is None or variance <= STILL:
        return None
    ratio = NORMAL_REFERENCE * len(label_T) ** -0.2
    aimed = share * variance / (1 + ratio**2)
    centre_T = label_T.mean() + math.sqrt(aimed / variance) * (label_T - label_T.mean())
    return centre_T, ratio * math.sqrt(aimed)


def smooth(value_T: Float, bandwidth: float, settings: Distribution) -> Float:
    """Frames per bin [b] of values that each stand for a Gaussian; what lies beyond the range is in the outer bins.

    Args:
        value_T: centres [T].
        bandwidth: standard deviation of the Gaussian, above 0.
        settings: bins and range.
    """
    from scipy.special import ndtr

    value_U, count_U = np.unique(value_T, return_counts=True)
    below_b = count_U @ ndtr((bin_edges(settings)[1:-1] - value_U[:, None]) / bandwidth)
    return np.asarray(np.diff(below_b, prepend=0.0, append=float(len(value_T))), np.float64)
