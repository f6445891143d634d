"""Weights that make a loss see the utopia distribution instead of the histogram: CWL (Eq. 7), and CWL together with
TNS.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def ratio(count_b: Float, utopia_b: Float) -> Float:
    """rho = n~ / n [b]; 0 where there is no sample to be weighed."""
    return np.divide(utopia_b, count_b, out=np.zeros_like(utopia_b), where=count_b > 0)


def cwl_weights(bin_T: NDArray[np.int64], count_b: Float, utopia_b: Float) -> Float:
    """The convolution-weighted loss's weights (ULDA sec. 3.4, Eq. 7): w_t = m rho_t / sum_s rho_s.

    m and the sum run over the frames that `count_b` counts: those of this series (ULDA: "on each time-series data"),
    whose weights then have mean 1; or, with pooled counts, those of all training series, over which they then have mean
    1.

    Args:
        bin_T: bin of every frame [T], each with count_b > 0.
        count_b: n [b].
        utopia_b: n~ [b].

    Returns:
        w [T].
    """
    rho_b = ratio(count_b, utopia_b)
    total = float((count_b * rho_b).sum())
    if not total:  # no frame lies where the utopia distribution does: nothing tells them apart
        return np.ones(len(bin_T))
    return rho_b[bin_T] * (count_b.sum() / total)


def combined_weights(
    count_b: Float,
    utopia_b: Float,
    need_b: Float,
    rule: Literal["capped", "post_count", "eq7_all"] = "capped",
    renormalise: bool = True,
) -> tuple[Float, Float]:
    """Weights of frames and of new samples where TNS fills the bins that are short and CWL tones down those that are
    full.

    ULDA does not print the formula [U]. `capped` (default): a frame weighs min(1, n~ / n), a new sample 1, since TNS
    has already made up for n < n~. `post_count`: both weigh n~ / n', n' counted with the new samples. `eq7_all`: both
    weigh n~ / n as in Eq. 7.

    Args:
        count_b: n [b].
        utopia_b: n~ [b].
        need_b: new samples per bin q [b] that belong to these counts.
        rule: see above.
        renormalise: scale to mean 1 over all m + q samples.

    Returns:
        The weight of a frame by its bin [b], and of a new sample by the bin it was drawn for [b].
    """
    rho_b = ratio(count_b, utopia_b)
    if rule == "capped":
        frame_b, new_b = np.minimum(1.0, rho_b), np.ones_like(rho_b)
    elif rule == "post_count":
        frame_b = new_b = ratio(count_b + need_b, utopia_b)
    else:
        frame_b = new_b = rho_b
    if not renormalise:
        return frame_b, new_b
    total = float(count_b @ frame_b + need_b @ new_b)
    if not total:
        return np.ones_like(frame_b), np.ones_like(new_b)
    scale = (count_b.sum() + need_b.sum()) / total
    return frame_b * scale, new_b * scale
