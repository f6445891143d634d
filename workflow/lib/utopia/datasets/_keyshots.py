"""From step scores to a summary of whole shots: the keyshot selection of SumMe and TVSum (ULDA sec. 4.1).

Frame scores -> mean score of each shot -> the best set of shots within 15 % of the video (0/1 knapsack, exact). The
steps, the tie rule and the guards are those of the field's common evaluation (PGL-SUM's, which ULDA Table 2 is compared
with). Predictions go through it in `evaluation.summary`, and users' votes where a data set has no users' summaries.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from utopia.errors import ComputeError, counted

SHARE = 0.15
"""Longest summary, as a share of the video."""


def frame_scores(scores: ArrayLike, picks: ArrayLike, n_frames: int) -> NDArray[np.float64]:
    """Scores [T] given at the frames `picks` [>=T] spread over all frames: [n_frames].

    A frame takes the score of the last pick at or before it. Frames before the first pick, and those of picks beyond
    the last score, get 0.

    Raises:
        ComputeError: there are more scores than picks, or the picks do not ascend within the video.
    """
    values, at = np.asarray(scores, np.float64), np.asarray(picks, np.int64)
    if values.ndim != 1 or at.ndim != 1 or len(values) > len(at):
        raise ComputeError(f"scores of shape {values.shape} do not fit picks of shape {at.shape}")
    if len(at) and (at[0] < 0 or at[-1] > n_frames or (np.diff(at) <= 0).any()):
        raise ComputeError(f"picks must ascend from 0 to at most {n_frames} frames")
    ends = np.append(at[1:], n_frames)
    frames = np.zeros(n_frames)
    if len(values):
        lengths = ends[: len(values)] - at[: len(values)]
        frames[at[0] : ends[len(values) - 1]] = np.repeat(values, lengths)
    return frames


def shot_means(frames: ArrayLike, change_points: ArrayLike) -> NDArray[np.float64]:
    """Mean frame score of each shot: frames [F], change_points [S, 2] inclusive first and last frame -> [S].

    A shot that ends after the last frame (shot files and frame counts of the field differ by a few frames) has the mean
    of the frames that are there.

    Raises:
        ComputeError: a shot is empty or begins after the last frame.
    """
    values, shots = np.asarray(frames, np.float64), _shots(change_points)
    if len(shots) and int(shots[:, 0].max()) >= len(values):
        raise ComputeError(
            f"a shot begins at frame {int(shots[:, 0].max())}, but the video has {counted(len(values), 'frame')}"
        )
    # One mean per shot, not differences of a running sum: those would break ties between equal shots by rounding.
    return np.array([values[first : last + 1].mean() for first, last in shots])


def _shots(change_points: ArrayLike) -> NDArray[np.int64]:
    shots = np.asarray(change_points, np.int64)
    if shots.ndim != 2 or shots.shape[1] != 2 or (shots < 0).any() or (shots[:, 1] < shots[:, 0]).any():
        raise ComputeError("shots must be rows of (first frame, last frame) with first <= last")
    return shots


def knapsack(values: ArrayLike, weights: ArrayLike, capacity: int) -> list[int]:
    """Indices, ascending, of the set with the largest total value whose total weight is within `capacity` (exact).

    Dynamic programming over items, one NumPy row per item. The back-trace goes from the last item to the first and
    takes an item only if its row changed the optimum at the remaining capacity, so that among equal sets the one
    without the later item wins.

    Args:
        values: [S] finite numbers.
        weights: [S] whole numbers >= 1.
        capacity: whole number; nothing fits below 1.

    Raises:
        ComputeError: shapes differ, a value is not finite or a weight is below 1.
    """
    value, weight = np.asarray(values, np.float64), np.asarray(weights, np.int64)
    if value.shape != weight.shape or value.ndim != 1:
        raise ComputeError(f"the knapsack needs one weight per value, not shapes {value.shape} and {weight.shape}")
    if not np.isfinite(value).all() or (weight < 1).any():
        raise ComputeError("the knapsack needs finite values and weights of at least 1")
    if capacity < 1 or not len(value):
        return []
    best = np.empty((len(value) + 1, capacity + 1))
    best[0] = 0.0
    before = best[0]
    for after, v, w in zip(best[1:], value.tolist(), weight.tolist(), strict=True):
        after[:w] = before[:w]
        if w <= capacity:
            taken = np.add(before[: capacity + 1 - w], v, out=after[w:])
            np.maximum(taken, before[w:], out=taken)
        before = after
    chosen, left = [], capacity
    for item in range(len(value) - 1, -1, -1):
        if best[item + 1, left] != best[item, left]:
            chosen.append(item)
            left -= int(weight[item])
    return chosen[::-1]


def summarise(scores: ArrayLike, picks: ArrayLike, n_frames: int, change_points: ArrayLike) -> NDArray[np.bool_]:
    """The summary that step scores [T] select: a mask over the frames up to the end of the last shot.

    Raises:
        ComputeError: see `frame_scores` and `shot_means`; or there is no shot at all.
    """
    shots = _shots(change_points)
    if not len(shots):
        raise ComputeError("a video without shots cannot be summarised")
    means = shot_means(frame_scores(scores, picks, n_frames), shots)
    length = int(shots[-1, 1]) + 1
    summary = np.zeros(length, np.bool_)
    # In binary floating point, as the common evaluation computes it.
    for shot in knapsack(means, shots[:, 1] - shots[:, 0] + 1, math.floor(length * SHARE)):
        summary[shots[shot, 0] : shots[shot, 1] + 1] = True
    return summary
