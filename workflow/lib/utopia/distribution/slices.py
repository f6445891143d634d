"""Time slices: neighbouring frames whose labels are nearly identical, and the windows that TNS draws from (ULDA
secs. 3.3.1 and 3.3.2).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

STILL = 1e-9
"""A label deviation below this (label units) is rounding noise of equal labels."""


def time_slices(bin_T: NDArray[np.int64]) -> NDArray[np.int64]:
    """Maximal runs of consecutive frames in one bin, as half-open frame ranges [S, 2] that tile the series.

    "Nearly identical and continuous" labels are read as "of one bin", the only reading consistent with the counts n.
    """
    edge = np.flatnonzero(np.diff(bin_T)) + 1
    return np.stack([np.concatenate([[0], edge]), np.concatenate([edge, [len(bin_T)]])], axis=1).astype(np.int64)


def extend_slices(
    slice_S2: NDArray[np.int64],
    frames: int,
    window: int,
    extension: Literal["alternate", "right", "none"] = "alternate",
) -> NDArray[np.int64]:
    """The window of every slice: the slice itself, or, if it is shorter than T, T frames around it (all, if the series
    is shorter).

    `alternate` takes one frame to the left, one to the right, and so on, and goes on at the other side where the series
    ends [U]; `right` extends to the right first; `none` leaves short slices as they are.

    Args:
        slice_S2: half-open frame ranges [S, 2].
        frames: length of the series.
        window: T of sec. 3.3.2 (ULDA: 10).
        extension: see above.

    Returns:
        Half-open frame ranges [S, 2]; each contains its slice.
    """
    if extension == "none":
        return slice_S2.copy()
    start, stop = slice_S2[:, 0], slice_S2[:, 1]
    missing = np.maximum(0, min(window, frames) - (stop - start))
    to_right = missing if extension == "right" else missing // 2
    room_left, room_right = start, frames - stop
    right = np.clip(np.maximum(to_right, missing - room_left), 0, room_right)
    return np.stack([start - (missing - right), stop + right], axis=1)


def coefficients(
    label_T: NDArray[np.floating],
    slice_S2: NDArray[np.int64],
    window_S2: NDArray[np.int64],
    deviation: Literal["population", "sample"] = "population",
) -> NDArray[np.float64]:
    """The weights c_i of a window's frames: p(y_i) = exp(-(y_i - mu)^2 / 2 s^2) (Eq. 4, whose constant factor cancels),
    and c_i = p(y_i) / sum_j p(y_j) (Eq. 5).

    mu is the mean label of the slice, s the label deviation over the window; s = 0 gives equal weights. The sum of Eq.
    5 runs over the window also where that is longer than T.

    Args:
        label_T: labels [T].
        slice_S2: slices [S, 2].
        window_S2: their windows [S, 2].
        deviation: of the whole window (`population`), or with one degree of freedom less (`sample`) [U].

    Returns:
        c [S, longest window], each row summing to one over its window and padded with 0.
    """
    label_T = np.asarray(label_T, dtype=np.float64)
    length_S = window_S2[:, 1] - window_S2[:, 0]
    column_L = np.arange(length_S.max())
    inside_SL = column_L < length_S[:, None]
    y_SL = label_T[np.minimum(window_S2[:, :1] + column_L, len(label_T) - 1)]

    total_T = np.concatenate([[0.0], np.cumsum(label_T - label_T[0])])
    mu_S = label_T[0] + (total_T[slice_S2[:, 1]] - total_T[slice_S2[:, 0]]) / (slice_S2[:, 1] - slice_S2[:, 0])
    mean_S = (y_SL * inside_SL).sum(axis=1) / length_S
    square_S = ((y_SL - mean_S[:, None]) ** 2 * inside_SL).sum(axis=1)
    s_S = np.sqrt(square_S / np.maximum(1, length_S - (deviation == "sample")))

    still_S = s_S <= STILL
    distance_SL = ((y_SL - mu_S[:, None]) / np.where(still_S, 1.0, s_S)[:, None]) ** 2 / 2
    distance_SL = np.where(inside_SL, np.where(still_S[:, None], 0.0, distance_SL), np.inf)
    weight_SL = np.exp(distance_SL.min(axis=1, keepdims=True) - distance_SL)
    return weight_SL / weight_SL.sum(axis=1, keepdims=True)
