"""How many samples TNS adds to each bin (ULDA sec. 3.3)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def shortage(own_b: Float, count_b: Float, utopia_b: Float) -> Float:
    """n~ - n of the bins that have a sample and lack some, else 0 [b].

    A bin without any sample has no time slice, and a new sample takes over the label of a frame: such a bin cannot be
    filled. With counts pooled over several series, a series makes up for its share n_own / n of what the bin lacks.

    Args:
        own_b: samples per bin of this series [b].
        count_b: n [b], of this series or pooled.
        utopia_b: n~ [b], belonging to `count_b`.
    """
    share_b = np.divide(own_b, count_b, out=np.zeros_like(count_b), where=count_b > 0)
    return share_b * np.maximum(0.0, utopia_b - count_b)


def needed_samples(
    shortage_b: Float, rounding: Literal["half_even", "floor", "ceil"] = "half_even"
) -> NDArray[np.int64]:
    """q [b]: the shortage as a whole number of samples; round half to even by default [U]."""
    rounded = {"half_even": np.rint, "floor": np.floor, "ceil": np.ceil}[rounding](shortage_b)
    return np.asarray(rounded).astype(np.int64)
