"""The F-score of a video summary against the users' summaries: the protocol of SumMe and TVSum (ULDA sec. 4.1).

Scores become a summary in `datasets._keyshots`; here it is compared with each user's. The guards are those of the
field's common evaluation (PGL-SUM's, which ULDA Table 2 is compared with).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from utopia.datasets._keyshots import SHARE, frame_scores, knapsack, shot_means, summarise
from utopia.errors import ComputeError

__all__ = [
    "SHARE",
    "Over",
    "f_scores",
    "frame_scores",
    "knapsack",
    "leave_one_out",
    "over_users",
    "shot_means",
    "split_mean",
    "summarise",
]

Over = Literal["max", "mean"]
"""How the F-scores against several users become one: SumMe takes the maximum, TVSum the mean."""


def f_scores(summary: ArrayLike, users: ArrayLike) -> NDArray[np.float64]:
    """F-score in percent of a summary [F] against each user's summary [U, G]: [U].

    The shorter is padded with 0 to the longer. F is 0 where the two have no frame in common, which covers a summary or
    a user without any frame (the plain formula divides by 0 there).
    """
    mine, theirs = np.asarray(summary, np.bool_), np.atleast_2d(np.asarray(users)).astype(np.bool_)
    shared = min(mine.shape[0], theirs.shape[1])
    overlap = (theirs[:, :shared] & mine[:shared]).sum(axis=1).astype(np.float64)
    # 2PR / (P + R) with P = overlap / |S| and R = overlap / |G| is 2 overlap / (|S| + |G|).
    total = mine.sum() + theirs.sum(axis=1)
    return np.divide(200.0 * overlap, total, out=np.zeros_like(overlap), where=total > 0)


def over_users(scores: ArrayLike, over: Over) -> float:
    """One number from the F-scores against all users [U].

    Raises:
        ComputeError: there is no user.
    """
    values = np.asarray(scores, np.float64)
    if not values.size:
        raise ComputeError("an F-score needs at least one user's summary")
    return float(values.max() if over == "max" else values.mean())


def leave_one_out(users: ArrayLike, over: Over) -> float:
    """Human agreement: each user's summary [U, F] against those of all others, then the mean over users.

    Raises:
        ComputeError: there are fewer than two users.
    """
    summaries = np.asarray(users).astype(np.bool_)
    if len(summaries) < 2:
        raise ComputeError("leaving one out needs at least two users")
    keep = ~np.eye(len(summaries), dtype=np.bool_)
    return float(np.mean([over_users(f_scores(s, summaries[keep[u]]), over) for u, s in enumerate(summaries)]))


def split_mean(video_scores: ArrayLike, *, double_rounding: bool = False) -> float:
    """Score of a split: the mean over its videos' F-scores.

    Args:
        double_rounding: round it to 2 decimals, as the reference's log files do before they are averaged over the
            splits.
    """
    mean = float(np.mean(np.asarray(video_scores, np.float64)))
    return round(mean, 2) if double_rounding else mean
