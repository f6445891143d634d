"""Weights of rows from counts per bin: what INV and LDS share.

Counts are pooled over all training videos, as the original methods have them, or kept per video, as ULDA's own
statistics are. Where a sampler adds samples these count too: a bin is as frequent as it is in training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from utopia.distribution.item import ItemDistribution
from utopia.losses._common import Weights

Float = NDArray[np.float64]
Scope = Literal["train_set", "per_video"]
Needs = Sequence[Float] | None


def pools(total: int, scope: Scope) -> list[list[int]]:
    """The numbers of the videos whose statistics are taken together."""
    return [list(range(total))] if scope == "train_set" and total else [[number] for number in range(total)]


def inverse_weights(
    videos: Sequence[ItemDistribution],
    needs: Needs,
    scope: Scope,
    density: Callable[[Float, Sequence[ItemDistribution]], Float],
) -> list[Weights]:
    """w = 1 / density of the bin, times the constant that makes the mean over a pool's frames and new samples 1.

    Args:
        videos: the training videos.
        needs: new samples per video and bin [b]; None without a sampler.
        scope: what is pooled.
        density: from the counts of a pool [b] (new samples included) and its videos to the density to be inverted [b];
            positive where there are samples.
    """
    weights: dict[int, Weights] = {}
    for pool in pools(len(videos), scope):
        frames_b = np.sum([videos[number].own_count for number in pool], axis=0)
        new_b = np.sum([needs[number] for number in pool], axis=0) if needs is not None else np.zeros_like(frames_b)
        count_b = frames_b + new_b
        density_b = density(count_b, [videos[number] for number in pool])
        weight_b = np.divide(1.0, density_b, out=np.zeros_like(density_b), where=count_b > 0)
        weight_b *= count_b.sum() / (count_b @ weight_b)
        weights |= {number: Weights(weight_b[videos[number].bin], weight_b) for number in pool}
    return [weights[number] for number in range(len(videos))]


def tempered(count_b: Float, clip: tuple[float, float] | None, root: bool) -> Float:
    """Counts as they are, clipped to a range (all bins, also empty ones), or their square roots."""
    if clip is not None:
        return count_b.clip(*clip)
    return np.sqrt(count_b) if root else count_b
