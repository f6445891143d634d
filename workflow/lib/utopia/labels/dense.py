"""From a few values per second to all of them: the interpolation of EEV 2021 (secs. 3.2 and 4.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def dense(sparse_nC: NDArray[np.floating], every: int, rows: int) -> NDArray[np.float64]:
    """Values [rows, C] between those of every `every`th row [n, C], linearly; after the last one it is repeated.

    Args:
        sparse_nC: values at rows 0, every, 2 every, ...
        every: rows from one to the next.
        rows: of the result, at most n x every.
    """
    if every == 1:
        return np.asarray(sparse_nC[:rows], np.float64)
    known = np.concatenate([sparse_nC, sparse_nC[-1:]]).astype(np.float64)
    row = np.arange(rows)
    before, share = row // every, (row % every / every)[:, None]
    return known[before] * (1 - share) + known[before + 1] * share
