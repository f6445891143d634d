"""SmoteR: rare labels are multiplied by interpolation, the others are thinned out, until all domains are of one size.

Torgo et al. (2013, "SMOTE for regression"), cited by ULDA (sec. 2.2). Rare low and rare high labels are handled apart:
each gets new samples between a frame and one of its k nearest neighbours in feature space of the same kind; normal ones
are sampled down. Neighbours are sought within a video [U]: only its features are there in a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from utopia.config.base import Strict
from utopia.distribution.item import ItemDistribution
from utopia.samplers._common import Samples
from utopia.samplers._relevance import Population
from utopia.samplers._resample import FrameResampler, populations

Float = NDArray[np.float64]


class Config(Strict):
    """SmoteR: interpolation between rare frames, normal ones thinned out (Torgo et al. 2013)."""

    threshold: float = Field(0.5, gt=0, le=1)
    """Labels of at least this relevance are rare."""
    k: int = Field(5, ge=1, le=10_000)
    """Neighbours; all other frames of the kind in the video, where it has fewer."""
    undersample: bool = True
    """Whether normal frames are left out of the loss, at random, down to the size of the other domains."""
    scope: Literal["train_set", "per_video"] = "train_set"
    """Relevance and sizes of domains from the labels of all training videos (as originally), or of each video alone
    [U]."""
    gradient: Literal["detach", "reparam"] = "detach"
    """Whether a new sample is data (`detach`, as with TNS) or passes gradients on to the frames it is made of [U]."""


class SmoteRegression:
    """SmoteR on a chunk."""

    def __init__(self, config: Config, resampler: FrameResampler, ratio_G: Float) -> None:
        self.config = config
        self.needs = resampler.needs(ratio_G)
        self._resampler, self._ratio_G = resampler, ratio_G

    def draw(self, feature_Rd: Tensor, generator: torch.Generator) -> Samples:
        """See `Sampler.draw`.

        Args:
            feature_Rd: features of the chunk's rows.
            generator: on the same device.
        """
        feature_Rd = feature_Rd.detach() if self.config.gradient == "detach" else feature_Rd
        choice = self._resampler.choose(self._ratio_G, generator, feature_Rd.shape[1], "smoter")
        return self._resampler.make(choice, feature_Rd, "smoter", self.config.k, 0.0)


def balancing_ratios(population: Population, undersample: bool) -> tuple[float, float, float]:
    """By how much the normal, the rare low and the rare high domain grow or shrink to have n / (domains that are not
    empty) frames.

    Rare domains never shrink, the normal one never grows.
    """
    share = population.total / max(1, sum(count > 0 for count in population.count))
    normal, low, high = (share / count if count else 1.0 for count in population.count)
    return min(1.0, normal) if undersample else 1.0, max(1.0, low), max(1.0, high)


def build(
    config: Config,
    videos: Sequence[ItemDistribution],
    target_R: Tensor,
    device: torch.device,
    labels: Sequence[Float] | None = None,
) -> SmoteRegression:
    """The sampler of a chunk.

    Args:
        config: the settings.
        videos: label distributions of the chunk's videos, in the order of their rows.
        target_R: labels of the chunk's rows, on `device`.
        device: where features will be.
        labels: labels [T] of all training videos; needed with `scope: train_set`.

    Raises:
        ConfigError: they are needed and not given.
    """
    population = populations(videos, target_R, config.scope, config.threshold, labels)
    ratio_G = np.concatenate([balancing_ratios(one, config.undersample) for one in population])
    return SmoteRegression(config, FrameResampler(videos, target_R, config.threshold, population), ratio_G)
