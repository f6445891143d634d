"""REBAGG: each member of an ensemble is trained on a bag with more rare labels; this makes one member's bag.

Branco et al. (2018, "REBAGG: resampled bagging for imbalanced regression"), cited by ULDA (sec. 2.2). A bag has `size`
times as many samples as there are frames, a share of them rare; rare ones that are missing are made up. It is drawn
once and stays. The ensemble is the mean prediction of members that differ in nothing but their seed.
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
from utopia.samplers._resample import Draws, FrameResampler, populations

Float = NDArray[np.float64]
SHARES = (1 / 3, 2 / 5, 1 / 2, 3 / 5, 2 / 3)
"""Shares of rare samples that `variation` picks from."""


class Config(Strict):
    """REBAGG: a bag of frames with more rare labels, for one member of an ensemble (Branco et al. 2018)."""

    size: float = Field(0.5, gt=0)
    """Samples in a bag, per training frame."""
    rare: Literal["balance", "variation"] = "balance"
    """Share of rare samples: one half; or for each member one of 1/3, 2/5, 1/2, 3/5, 2/3, at random."""
    fill: Literal["smoter", "noise", "duplicate"] = "smoter"
    """How rare samples that are missing are made: between two rare frames, with noise around one, or as its double."""
    delta: float = Field(0.1, gt=0)
    """With `fill: noise`: its deviation, in deviations of the rare frames."""
    threshold: float = Field(0.5, gt=0, le=1)
    """Labels of at least this relevance are rare."""
    k: int = Field(5, ge=1, le=10_000)
    """With `fill: smoter`: neighbours; all other frames of the kind in the video, where it has fewer."""
    scope: Literal["train_set", "per_video"] = "train_set"
    """Relevance and sizes of domains from the labels of all training videos (as originally), or of each video alone
    [U]."""


class Bag:
    """The part of a member's bag that lies in a chunk."""

    def __init__(self, config: Config, resampler: FrameResampler, population: Sequence[Population]) -> None:
        self.config = config
        self._resampler, self._population = resampler, population
        shares = SHARES if config.rare == "variation" else (0.5,)
        each = [resampler.needs(self._ratios(share)) for share in shares]
        self.needs: list[Float] = [np.mean(one, axis=0) for one in zip(*each, strict=True)]
        self._seeds = (0, 0)
        self._choice: Draws | None = None

    def seed_once(self, common: int, own: int) -> None:
        """See `utopia.samplers._common.SeededOnce`."""
        self._seeds, self._choice = (common, own), None

    def draw(self, feature_Rd: Tensor, generator: torch.Generator) -> Samples:
        """See `Sampler.draw`. What is in the bag is drawn once; new samples follow the features.

        Args:
            feature_Rd: features of the chunk's rows.
            generator: not used.
        """
        config = self.config
        if self._choice is None:
            common, own = self._seeds
            share = 0.5
            if config.rare == "variation":  # all chunks of a member have the same share
                member = torch.Generator().manual_seed(common)
                share = SHARES[int(torch.randint(len(SHARES), (1,), generator=member))]
            once = torch.Generator(feature_Rd.device).manual_seed(own)
            self._choice = self._resampler.choose(self._ratios(share), once, feature_Rd.shape[1], config.fill)
        return self._resampler.make(self._choice, feature_Rd.detach(), config.fill, config.k, config.delta)

    def _ratios(self, share: float) -> Float:
        return np.concatenate([bag_ratios(one, self.config.size, share) for one in self._population])


def bag_ratios(population: Population, size: float, share: float) -> tuple[float, float, float]:
    """How many samples a bag has per normal, rare low and rare high frame.

    Frames are drawn without replacement; rare ones beyond those there are (a ratio above 1) are made up, normal ones
    are not. Where all labels are rare, or none is, the bag is made of these.
    """
    normal, low, high = population.count
    share = 1.0 if not normal else share if low + high else 0.0
    samples = size * population.total
    rare = share * samples / max(1, low + high)
    return min(1.0, (1 - share) * samples / max(1, normal)), rare, rare


def build(
    config: Config,
    videos: Sequence[ItemDistribution],
    target_R: Tensor,
    device: torch.device,
    labels: Sequence[Float] | None = None,
) -> Bag:
    """The part of a member's bag that lies in a chunk.

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
    return Bag(config, FrameResampler(videos, target_R, config.threshold, population), population)
