"""Inverse-frequency weighting (INV): squared errors weighed by 1 / n, n the frames in the label's bin.

The baseline of Yang et al. (2021, "Delving into deep imbalanced regression"), which ULDA (sec. 4.6.1) compares with:
w_i = 1 / n_{b(i)}, scaled to mean 1. Their image-age benchmarks clip n to [5, 1000] first, or invert its square root.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import model_validator

from utopia.config.base import Strict
from utopia.distribution.item import ItemDistribution
from utopia.losses._common import Loss, Weights
from utopia.losses._reweight import Needs, inverse_weights, tempered
from utopia.losses.mse import MeanSquaredError


class Config(Strict):
    """Inverse-frequency weighting: squared errors weighed by one over the count of the label's bin (Yang et al.
    2021)."""

    scope: Literal["train_set", "per_video"] = "train_set"
    """Counts pooled over the training videos (as originally), or of each video alone (as ULDA's own) [U]."""
    inv_clip: tuple[float, float] | None = None
    """Clip counts to this range before inverting them; null: no clipping. [5, 1000] in the original's AgeDB and IMDB
    runs."""
    sqrt: bool = False
    """Invert the square root of the counts (SQINV)."""

    @model_validator(mode="after")
    def _clip(self) -> Self:
        if self.inv_clip is not None and not 0 < self.inv_clip[0] <= self.inv_clip[1]:
            raise ValueError(f"inv_clip {list(self.inv_clip)} must be [low, high] with 0 < low <= high")
        if self.inv_clip is not None and self.sqrt:
            raise ValueError("inv_clip and sqrt exclude one another: counts are clipped, or their roots are taken")
        return self


class InverseFrequency(MeanSquaredError):  # noqa: N818 - no exception
    """1/m sum_t w_t (y_t - y^_t)^2 for each video with w_t = c / n_{b(t)}; c makes the mean weight of the pool 1."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def weights(self, videos: Sequence[ItemDistribution], needs: Needs) -> list[Weights]:
        """See `Loss.weights`."""
        config = self.config
        return inverse_weights(
            videos, needs, config.scope, lambda count_b, _: tempered(count_b, config.inv_clip, config.sqrt)
        )


def build(config: Config) -> Loss:
    """The loss."""
    return InverseFrequency(config)
