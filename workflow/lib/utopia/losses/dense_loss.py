"""DenseLoss: squared errors weighed by how rare a label is under a kernel density estimate.

DenseWeight of Steininger et al. (2021, "Density-based weighting for imbalanced regression"), which ULDA (sec. 4.6.1)
compares with: p is the density of the labels, scaled to [0, 1] over a grid, w'_i = max(1 - alpha p(y_i), eps), w_i =
w'_i / mean(w').
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.signal import fftconvolve

from utopia.config.base import Strict
from utopia.distribution.item import ItemDistribution
from utopia.losses._common import Loss, Weights
from utopia.losses._reweight import Needs, pools
from utopia.losses.mse import MeanSquaredError

Float = NDArray[np.float64]
GRID = 4096
"""Points at which the density is estimated."""
REACH = 5.0
"""Bandwidths by which the grid goes beyond the labels; the density is nil there."""


class Config(Strict):
    """DenseLoss: squared errors weighed by one minus the label's kernel density, scaled to [0, 1] (Steininger et al.
    2021)."""

    alpha: float = Field(1.0, ge=0)
    """Strength: 0 weighs all alike, 1 gives the densest labels the smallest weight, more cuts off ever more of them."""
    eps: float = Field(1e-6, gt=0)
    """Smallest weight before scaling to mean 1."""
    scope: Literal["train_set", "per_video"] = "train_set"
    """Density of the labels of all training videos (as originally), or of each video alone (as ULDA's own) [U]."""


class DenseLoss(MeanSquaredError):  # noqa: N818 - no exception
    """1/m sum_t w_t (y_t - y^_t)^2 for each video; the mean weight of the pool is 1."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def weights(
        self, videos: Sequence[ItemDistribution], needs: Needs, labels: Sequence[Float] | None = None
    ) -> list[Weights]:
        """See `Loss.weights`. A new sample weighs what frames of its bin weigh on average.

        Args:
            videos: the training videos.
            needs: new samples per video and bin [b]; None without a sampler.
            labels: labels [T] of every video. None: the numbers of their bins stand for them (the weights do not depend
                on the unit of labels), so that the density is that of labels rounded to bins.
        """
        given: Sequence[np.ndarray] = [video.bin for video in videos] if labels is None else labels
        label = [np.asarray(label_T, dtype=np.float64) for label_T in given]
        weights: dict[int, Weights] = {}
        for pool in pools(len(videos), self.config.scope):
            weight_N = dense_weights(
                np.concatenate([label[number] for number in pool]), self.config.alpha, self.config.eps
            )
            bin_N = np.concatenate([videos[number].bin for number in pool])
            need_b = np.sum([needs[number] for number in pool], axis=0) if needs is not None else None
            weight_N, new_b = _with_new_samples(weight_N, bin_N, len(videos[pool[0]].count), need_b)
            ends = np.cumsum([len(label[number]) for number in pool])[:-1]
            parts = np.split(weight_N, ends)
            weights |= {number: Weights(part, new_b) for number, part in zip(pool, parts, strict=True)}
        return [weights[number] for number in range(len(videos))]


def _with_new_samples(
    weight_N: Float, bin_N: NDArray[np.int64], bins: int, need_b: Float | None
) -> tuple[Float, Float]:
    """The weights with mean 1 over frames and new samples, and those of new samples by bin [b]."""
    total_b, count_b = np.bincount(bin_N, weight_N, bins), np.bincount(bin_N, minlength=bins)
    new_b = np.divide(total_b, count_b, out=np.ones(bins), where=count_b > 0)
    if need_b is None:
        return weight_N, new_b
    scale = (len(weight_N) + need_b.sum()) / (weight_N.sum() + need_b @ new_b)
    return weight_N * scale, new_b * scale


def dense_weights(label_N: Float, alpha: float, eps: float) -> Float:
    """DenseWeight: max(1 - alpha p(y_i), eps) / mean, p scaled so that it runs from 0 to 1 over the grid.

    Labels that do not vary have no density; they weigh 1.
    """
    density_N = scaled_density(label_N)
    weight_N = np.maximum(1 - alpha * density_N, eps) if density_N is not None else np.ones(len(label_N))
    weighted: Float = weight_N / weight_N.mean()
    return weighted


def scaled_density(label_N: Float) -> Float | None:
    """The Gaussian kernel density at every label [N], min-max scaled over the grid; None if labels do not vary.

    Bandwidth 1.06 s N^(-1/5) (Silverman; s the population deviation). Each label is shared between its two neighbours
    on the grid and the kernel is laid over by FFT; a label takes the value of its left neighbour.
    """
    low, high = label_N.min(), label_N.max()
    bandwidth = 1.06 * label_N.std() * len(label_N) ** -0.2
    if not high - low > 1e-9 * max(1.0, abs(low), abs(high)):
        return None
    start, stop = low - REACH * bandwidth, high + REACH * bandwidth
    step = (stop - start) / (GRID - 1)
    position_N = (label_N - start) / step
    left_N = np.floor(position_N).astype(np.int64).clip(0, GRID - 2)
    share_N = position_N - left_N
    mass = np.bincount(left_N, 1 - share_N, GRID) + np.bincount(left_N + 1, share_N, GRID)
    offset = np.arange(-(GRID - 1), GRID) * (step / bandwidth)
    density = fftconvolve(mass, np.exp(-0.5 * offset**2))
    density = density[GRID - 1 : 2 * GRID - 1]
    scaled: Float = (density - density.min()) / (density.max() - density.min())
    return scaled[left_N]


def build(config: Config) -> Loss:
    """The loss."""
    return DenseLoss(config)
