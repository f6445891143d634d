"""Low-pass filters of label series (EEV 2021 sec. 4.3, Table 2), as its code and report give them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Filter = Literal["none", "butterworth", "median", "gaussian"]

ORDER, CUT_OFF = 2, 0.2
"""Of the Butterworth filter; the cut-off in units of half the sampling rate, 0.1 Hz at one label per second."""
LENGTH = 3
"""Of the median filter, in steps."""
SIGMA = 0.8
"""Of the Gaussian filter, in steps."""


def smoothed(y: NDArray[np.floating], name: Filter) -> NDArray[np.floating]:
    """Series [..., T, C], filtered along T; the same type of number.

    Beyond the ends lies the series mirrored (of the Butterworth filter point-reflected, as `filtfilt` does) [U]. The
    Butterworth filter runs forwards and backwards, so without a delay, and its overshoot below 0 is cut. A series that
    is shorter than it needs to settle (9 steps) stays as it is.

    Args:
        y: labels, not negative.
        name: which filter.
    """
    if name == "none":
        return y
    if name == "median":
        return _median(y)
    from scipy import ndimage, signal  # a second to import: only who filters pays

    if name == "gaussian":
        return np.asarray(ndimage.gaussian_filter1d(y, SIGMA, axis=-2, mode="reflect"), y.dtype)
    if y.shape[-2] <= 3 * (ORDER + 1):
        return y
    b, a = signal.butter(ORDER, CUT_OFF)
    return np.asarray(np.maximum(signal.filtfilt(b, a, y, axis=-2), 0), y.dtype)


def _median(y: NDArray[np.floating]) -> NDArray[np.floating]:
    around = [(0, 0)] * y.ndim
    around[-2] = (LENGTH // 2, LENGTH // 2)
    padded = np.pad(y, around, mode="symmetric")
    steps = y.shape[-2]
    shifted = [padded[..., shift : shift + steps, :] for shift in range(LENGTH)]
    return np.median(np.stack(shifted), axis=0).astype(y.dtype)
