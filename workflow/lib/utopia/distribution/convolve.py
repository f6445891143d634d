"""The approximated distribution of the utopia labels: n~ = n * K (ULDA sec. 3.2, Eq. 2)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray


def convolve(
    count_b: NDArray[np.float64],
    taps: NDArray[np.float64],
    boundary: Literal["zero", "reflect", "renormalise"] = "zero",
) -> NDArray[np.float64]:
    """n~_k = sum_j g_j n_{k+j} (Eq. 2).

    Args:
        count_b: samples per bin n [b].
        taps: symmetric kernel taps [2K + 1].
        boundary: what the samples do that the kernel carries beyond the label range [U]. `zero`: they are lost, Eq. 2
            to the letter (5 % of the samples on real TVSum labels). `reflect`: they are mirrored back at the end of the
            range. `renormalise`: each bin spreads over the bins inside the range only.

    Returns:
        n~ [b], float64. With taps that sum to one, `reflect` and `renormalise` keep the number of samples.
    """
    reach = len(taps) // 2
    if boundary == "renormalise":
        inside_b = np.convolve(np.ones_like(count_b), taps, mode="full")[reach : reach + len(count_b)]
        count_b = count_b * (taps.sum() / inside_b)
    padded = np.pad(count_b, reach, mode="symmetric" if boundary == "reflect" else "constant")
    return np.convolve(padded, taps, mode="valid")
