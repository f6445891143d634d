"""Bins over the label range, and how many frames of a series fall into each (ULDA sec. 3.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from utopia.config.study import Distribution
from utopia.errors import ComputeError

EDGE = 1e-5
"""A label closer than this (in bin widths) below an edge lies on the edge: 0.7 stored in binary belongs to [0.7, 0.8).
"""


def bin_total(settings: Distribution) -> int:
    """Number of bins: b, or b + 1 grid points with `binning: grid`."""
    return settings.bins + (settings.binning == "grid")


def bin_width(settings: Distribution) -> float:
    """Width w = (high - low) / b of a bin, in label units."""
    return (settings.high - settings.low) / settings.bins


def bin_edges(settings: Distribution) -> NDArray[np.float64]:
    """Edges of the bins [b + 1] in label units; with `grid`, the midpoints between grid points [b + 2]."""
    width = bin_width(settings)
    if settings.binning == "grid":
        return np.asarray(settings.low + width * (np.arange(settings.bins + 2) - 0.5), np.float64)
    return np.asarray(settings.low + width * np.arange(settings.bins + 1), np.float64)


def bin_index(label_T: NDArray[np.floating], settings: Distribution, *, where: str = "") -> NDArray[np.int64]:
    """The bin of every label: min(b - 1, floor((y - low) / w)); with `grid`, the nearest of b + 1 grid points.

    Args:
        label_T: labels [T] in label units.
        settings: range and number of bins.
        where: the series, for the message.

    Returns:
        Bin indices [T].

    Raises:
        ComputeError: a label is not a number, or lies outside [low, high].
    """
    label_T = np.asarray(label_T, dtype=np.float64)
    if label_T.ndim != 1 or not len(label_T):
        raise ComputeError(
            f"labels of shape {label_T.shape}; a series has one label per frame, and a frame", where=where
        )
    position_T = (label_T - settings.low) * (settings.bins / (settings.high - settings.low))
    wrong = ~((position_T >= -EDGE) & (position_T <= settings.bins + EDGE))
    if wrong.any():
        frame = int(np.argmax(wrong))
        raise ComputeError(
            f"label {label_T[frame]:g} at frame {frame} ({int(wrong.sum())} such) "
            f"is not in [{settings.low:g}, {settings.high:g}]",
            where=where,
            why="a frame outside every bin has no place in the label distribution",
            remedy="correct the annotation, or this data set's `distribution: low, high` in the configuration",
        )
    if settings.binning == "grid":
        return np.floor(position_T + 0.5 + EDGE).astype(np.int64).clip(0, settings.bins)
    return np.floor(position_T + EDGE).astype(np.int64).clip(0, settings.bins - 1)


def count_bins(bin_T: NDArray[np.int64], bins: int) -> NDArray[np.float64]:
    """n: the number of frames in each bin [b]."""
    return np.bincount(bin_T, minlength=bins).astype(np.float64)
