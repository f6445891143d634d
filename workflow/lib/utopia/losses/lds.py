"""Label distribution smoothing (LDS): squared errors weighed by the inverse of the smoothed label histogram.

Yang et al. (2021), which ULDA (sec. 4.6.1) compares with: n~ = k * n with a symmetric window k of `ks` bins, w_i = 1 /
n~_{b(i)}, scaled to mean 1. Windows have their peak at 1 (a factor that the scaling takes out again).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.ndimage import convolve1d, gaussian_filter1d
from scipy.signal.windows import triang

from utopia.config.base import Strict
from utopia.distribution.item import ItemDistribution
from utopia.errors import ConfigError
from utopia.losses._common import Loss, Weights
from utopia.losses._reweight import Needs, inverse_weights, tempered
from utopia.losses.mse import MeanSquaredError

Float = NDArray[np.float64]


class Config(Strict):
    """Label distribution smoothing: squared errors weighed by one over the smoothed count of the label's bin (Yang et
    al. 2021)."""

    window: Literal["gaussian", "triangular", "laplace", "utopia"] = "gaussian"
    """Shape of the window; `utopia`: ULDA's own kernel and boundary, so that LDS and CWL smooth alike."""
    ks: int = Field(5, ge=1, le=10_001)
    """Bins in the window, an odd number (the authors' commands: 5)."""
    sigma: float = Field(2.0, gt=0)
    """Width of the Gaussian or Laplace window, in bins (the authors' commands: 2)."""
    boundary: Literal["constant", "reflect"] = "constant"
    """Beyond the label range: no samples (AgeDB, IMDB and STS-B of the original), or the mirror image (its NYUD2)."""
    scope: Literal["train_set", "per_video"] = "train_set"
    """Counts pooled over the training videos (as originally), or of each video alone (as ULDA's own) [U]."""
    inv_clip: tuple[float, float] | None = None
    """Clip counts to this range before smoothing; null: no clipping. [5, 1000] in the original's AgeDB and IMDB runs.
    The original clips whole numbers; with a sampler ours are expected counts, clipped without rounding."""
    sqrt: bool = False
    """Take the square root of the counts before smoothing."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.ks % 2 == 0:
            raise ValueError(f"ks ({self.ks}) must be odd: a window has a middle")
        if self.inv_clip is not None and not 0 < self.inv_clip[0] <= self.inv_clip[1]:
            raise ValueError(f"inv_clip {list(self.inv_clip)} must be [low, high] with 0 < low <= high")
        if (self.inv_clip is not None) + self.sqrt + (self.window == "utopia") > 1:
            raise ValueError("inv_clip, sqrt and window: utopia exclude one another")
        return self


class LabelDistributionSmoothing(MeanSquaredError):  # noqa: N818 - no exception
    """1/m sum_t w_t (y_t - y^_t)^2 for each video with w_t = c / (k * n)_{b(t)}; c gives the pool mean weight 1."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def weights(self, videos: Sequence[ItemDistribution], needs: Needs) -> list[Weights]:
        """See `Loss.weights`.

        Raises:
            ConfigError: `window: utopia` with a sampler, or per video where the label distribution is not.
        """
        if self.config.window == "utopia":
            self._check(videos, needs)
            return inverse_weights(videos, needs, self.config.scope, _utopia_count)
        return inverse_weights(videos, needs, self.config.scope, self._smooth)

    def _smooth(self, count_b: Float, _: Sequence[ItemDistribution]) -> Float:
        config = self.config
        counts_b = tempered(count_b, config.inv_clip, config.sqrt)
        smoothed: Float = convolve1d(counts_b, smoothing_window(config), mode=config.boundary)
        return smoothed

    def _check(self, videos: Sequence[ItemDistribution], needs: Needs) -> None:
        if needs is not None:
            raise ConfigError(
                "lds with `window: utopia` has no meaning beside a sampler",
                why="the sampler has filled what this kernel finds short",
                remedy="use another window, or the loss without a sampler",
            )
        if self.config.scope == "per_video" and not all(video.own for video in videos):
            raise ConfigError(
                "lds with `window: utopia` and `scope: per_video` needs a label distribution per video",
                remedy="set `scope: video` under `distribution`, or `scope: train_set` under `losses: lds`",
            )


def _utopia_count(_: Float, videos: Sequence[ItemDistribution]) -> Float:
    """n~ of the pool: the convolution is linear, so that of pooled counts is the sum of the videos' own."""
    if not videos[0].own:
        return videos[0].utopia_count
    total: Float = np.sum([video.utopia_count for video in videos], axis=0)
    return total


def smoothing_window(config: Config) -> Float:
    """The window k [ks], peak 1.

    `gaussian` is not exp(-j^2 / 2 sigma^2): the original filters a unit impulse of only `ks` bins, whose mirror images
    come back in from both ends (scipy's default boundary), and divides by the maximum. At ks 5, sigma 2: (.8583, .9458,
    1, .9458, .8583).
    """
    offset = np.arange(config.ks) - config.ks // 2
    if config.window == "triangular":
        window = triang(config.ks)
    elif config.window == "laplace":
        window = np.exp(-np.abs(offset) / config.sigma)
    else:
        window = gaussian_filter1d((offset == 0).astype(np.float64), config.sigma)
    peaked: Float = window / window.max()
    return peaked


def build(config: Config) -> Loss:
    """The loss."""
    return LabelDistributionSmoothing(config)
