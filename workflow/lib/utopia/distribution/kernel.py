"""The Gaussian kernel K of Eq. 2, as one tap per bin (ULDA sec. 3.2).

At the published settings (LIRIS-ACCEDE b = 100 on [-1, 1], delta .06, sigma .02; SumMe and TVSum b = 10 on [0, 1],
delta .3, sigma .1) sigma is one bin and delta three, so all of them use the taps (.2741, .4519, .2741).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from utopia.config.study import Distribution
from utopia.distribution.histogram import bin_width


def taps(settings: Distribution) -> NDArray[np.float64]:
    """Kernel taps g_j [2K + 1] for the offsets j = -K..K in bins, K = floor(delta / 2w).

    `sum_one` normalises the taps, so that convolving keeps the number of samples. `raw_density` is Eq. 2 to the letter,
    the density times the bin width [U]: at the published settings its taps sum to .883 and the number of samples
    shrinks.
    """
    width = bin_width(settings)
    reach = int(np.floor(settings.delta / (2 * width) + 1e-9))
    offset = np.arange(-reach, reach + 1) * width
    gauss = np.exp(-0.5 * (offset / settings.sigma) ** 2)
    if settings.kernel == "raw_density":
        return gauss * width / (settings.sigma * np.sqrt(2 * np.pi))
    return gauss / gauss.sum()
