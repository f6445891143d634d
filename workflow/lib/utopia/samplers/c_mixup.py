"""C-Mixup in a time slice: new samples are mixtures of two frames, likelier of two whose labels are near.

Yao et al. (2022, "C-Mixup: improving generalization in regression"): the partner j of frame i is drawn with a
probability proportional to exp(-(y_i - y_j)^2 / 2 h^2), j = i included, and lambda from Beta(a, a), one for a batch;
features and labels are mixed alike: lambda f_i + (1 - lambda) f_j. ULDA (sec. 4.6.2) restricts i and j to a time slice,
and makes the samples that TNS would make, in its place, with the convolution-weighted loss on the rest. In shapes: L
rows of the longest slice, V videos.
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
from utopia.errors import ConfigError
from utopia.samplers._common import Samples
from utopia.samplers._slices import SliceBases


class Config(Strict):
    """C-Mixup within a time slice: mixtures of frames, likelier of near labels (Yao et al. 2022; ULDA sec. 4.6.2)."""

    a: float = Field(2.0, ge=0.5)
    """Both parameters of lambda's Beta distribution (the original: 2, on one data set 1.5)."""
    h: float = Field(0.1, gt=0)
    """Bandwidth of the partner's probability, as a share of the label range [U] (in label units, the original's own
    settings lie between 0.05 and 1.75)."""
    mixing: Literal["per_video", "per_sample"] = "per_video"
    """One lambda for all samples that a video gets in a pass (its batch), or one for each [U]."""
    candidates: Literal["slice", "window"] = "slice"
    """Frames that a partner may be: of the slice (ULDA), or of its window, which TNS draws from [U]."""
    gradient: Literal["detach", "reparam"] = "detach"
    """Whether a new sample is data (`detach`, as with TNS) or passes gradients on to the two frames [U]."""


class SliceMixup:
    """C-Mixup on a chunk."""

    def __init__(
        self, config: Config, videos: Sequence[ItemDistribution], target_R: Tensor, device: torch.device, span: float
    ) -> None:
        self.config, self.target_R = config, target_R
        self.needs: list[NDArray[np.float64]]
        self._bases = SliceBases(videos, config.candidates, device)
        self.needs = self._bases.needs
        self._column_L = torch.arange(self._bases.longest, device=device)
        self._videos = len(videos)
        self._h = config.h * span

    def draw(self, feature_Rd: Tensor, generator: torch.Generator) -> Samples:
        """See `Sampler.draw`.

        Args:
            feature_Rd: features of the chunk's rows.
            generator: on the same device.
        """
        bases, y_R = self._bases, self.target_R
        i_Q = bases.draw(generator)
        j_Q = self._partner(i_Q, generator)
        share_Q = self._share(generator).to(feature_Rd.dtype)
        f_Rd = feature_Rd.detach() if self.config.gradient == "detach" else feature_Rd
        # lerp(f_j, f_i, 1) is f_i to the bit
        new_Qd = torch.lerp(f_Rd[j_Q], f_Rd[i_Q], share_Q[:, None])
        return Samples(new_Qd, torch.lerp(y_R[j_Q], y_R[i_Q], share_Q.to(y_R.dtype)), bases.bin_Q, bases.video_Q)

    def _partner(self, i_Q: Tensor, generator: torch.Generator) -> Tensor:
        """j, by inverting the cumulated probabilities of the frames of i's slice."""
        chance_Q1 = torch.rand(len(i_Q), 1, generator=generator, device=i_Q.device, dtype=torch.float64)
        if not len(i_Q):
            return i_Q
        first_Q1, last_Q1 = self._bases.range_R2[i_Q].split(1, dim=1)
        row_QL = torch.minimum(first_Q1 + self._column_L, last_Q1 - 1)
        distance_QL = (self.target_R[row_QL] - self.target_R[i_Q][:, None]).double() / self._h
        weight_QL = torch.exp(-distance_QL.square() / 2) * (first_Q1 + self._column_L < last_Q1)
        below_QL = running_sums(weight_QL)
        place_Q1 = torch.searchsorted(below_QL, chance_Q1 * below_QL[:, -1:], right=True)
        return torch.minimum(first_Q1 + place_Q1, last_Q1 - 1).squeeze(1)

    def _share(self, generator: torch.Generator) -> Tensor:
        """lambda of each sample [Q]."""
        bases = self._bases
        drawn = self._videos if self.config.mixing == "per_video" else len(bases.video_Q)
        share = symmetric_beta(self.config.a, drawn, generator, bases.video_Q.device)
        return share[bases.video_Q] if self.config.mixing == "per_video" else share


def running_sums(x: Tensor) -> Tensor:
    """Sums of all elements up to each, along the last axis: on a GPU by a way of its own, because torch's there adds
    floats up in another order each time, and refuses to where the same bytes are wanted.
    """
    return x.cumsum(dim=-1) if x.device.type == "cpu" else in_steps(x)


def in_steps(x: Tensor) -> Tensor:
    """The same by sums over 1, 2, 4, ... elements."""
    step = 1
    while step < x.shape[-1]:
        x = torch.cat([x[..., :step], x[..., step:] + x[..., :-step]], dim=-1)
        step *= 2
    return x


def symmetric_beta(a: float, number: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Draws from Beta(a, a), a >= 1/2, float64.

    By Ulrich's transformation (Devroye 1986, ch. IX.3): with u, v uniform, (1 + sqrt(1 - u^(1 / (a - 1/2))) cos(2 pi
    v)) / 2. At a = 1/2 the power is 0, which leaves the arcsine distribution.
    """
    u, v = torch.rand(2, number, generator=generator, device=device, dtype=torch.float64)
    power = u ** (1 / (a - 0.5)) if a > 0.5 else torch.zeros_like(u)
    return (1 + (1 - power).sqrt() * torch.cos(2 * torch.pi * v)) / 2


def build(
    config: Config,
    videos: Sequence[ItemDistribution],
    target_R: Tensor,
    device: torch.device,
    span: float | None = None,
    labels: Sequence[NDArray[np.float64]] | None = None,
) -> SliceMixup:
    """The sampler of a chunk.

    Args:
        config: the settings.
        videos: label distributions and plans of the chunk's videos, in the order of their rows.
        target_R: labels of the chunk's rows, on `device`.
        device: where features will be.
        span: width of the label range, in label units. None: from the lowest to the highest of `labels`.
        labels: labels [T] of all training videos.

    Raises:
        ConfigError: neither is given.
    """
    if span is None:
        if labels is None:
            raise ConfigError(
                "c_mixup knows neither the label range nor the training labels",
                why="its bandwidth `h` is a share of the label range",
                remedy="give `span` to the sampler",
            )
        span = float(max(label_T.max() for label_T in labels) - min(label_T.min() for label_T in labels))
    return SliceMixup(config, videos, target_R, device, span or 1.0)
