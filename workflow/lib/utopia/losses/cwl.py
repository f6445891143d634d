"""Convolution-weighted loss (CWL): squared errors weighed by n~ / n, the utopia distribution over the histogram (ULDA
sec. 3.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from utopia.config.base import Strict
from utopia.distribution.item import ItemDistribution
from utopia.distribution.plan import shortage
from utopia.distribution.weights import combined_weights
from utopia.losses._common import Loss, Weights
from utopia.losses.mse import MeanSquaredError


class Config(Strict):
    """Convolution-weighted loss: squared errors weighed by the utopia distribution over the histogram (ULDA Eqs. 7 and
    8).
    """

    combined: Literal["capped", "post_count", "eq7_all"] = "capped"
    """With a sampler: frames weigh min(1, n~/n) and new samples 1; or both n~/n' with n' after sampling; or both n~/n
    [U].
    """
    renormalise: bool = True
    """With a sampler: scale the weights to mean 1 over frames and new samples [U]."""


class ConvolutionWeightedLoss(MeanSquaredError):  # noqa: N818 - no exception
    """1/m sum_t w_t (y_t - y^_t)^2 per video (Eq. 8), w of Eq. 7; with a sampler 1/(m+q), see `combined_weights`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def weights(self, videos: Sequence[ItemDistribution], needs: Sequence[NDArray[np.float64]] | None) -> list[Weights]:
        """See `Loss.weights`."""
        if needs is None:
            return [Weights(video.weight, np.ones(len(video.count))) for video in videos]
        return [self._combined(video, need_b) for video, need_b in zip(videos, needs, strict=True)]

    def _combined(self, video: ItemDistribution, need_b: NDArray[np.float64]) -> Weights:
        if not video.own:  # pooled counts: the mean is 1 over all training videos together, not over this one
            need_b = shortage(video.count, video.count, video.utopia_count)
        frame_b, new_b = combined_weights(
            video.count, video.utopia_count, need_b, self.config.combined, self.config.renormalise
        )
        return Weights(frame_b[video.bin], new_b)


def build(config: Config) -> Loss:
    """The loss."""
    return ConvolutionWeightedLoss(config)
