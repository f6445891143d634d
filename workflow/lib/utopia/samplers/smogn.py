"""SMOGN in a time slice: new samples between two near frames, or around one where none is near.

Branco et al. (2017, "SMOGN: a pre-processing approach for imbalanced regression"): from a base i and one of its k
nearest neighbours j, if j is nearer than half the median of i's distances (0 to itself included, as the reference
implementations have it), interpolate as SmoteR does, x_i + u (x_j - x_i), with the label (d_j y_i + d_i y_j) / (d_i +
d_j), d the new point's distances to the two; else add Gaussian noise to i and its label, with min(pert, half the
median) times the deviation. ULDA (sec. 4.6.2) works within a time slice and makes the samples that TNS would make, in
its place, with the convolution-weighted loss on the rest: so no relevance function and no undersampling. With at most
three frames in a slice none is nearer than half the median, and all samples are noisy. Shapes as in `_neighbours`.
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
from utopia.samplers._neighbours import Pairs, draw_neighbour, exact_distances, label_limits, pair, spread
from utopia.samplers._slices import SliceBases


class Config(Strict):
    """SMOGN within a time slice: interpolation of near frames, else noise (Branco et al. 2017; ULDA sec. 4.6.2)."""

    k: int = Field(5, ge=1, le=10_000)
    """Neighbours; all other frames of the slice, where it has fewer."""
    pert: float = Field(0.02, gt=0)
    """Largest deviation of the noise, in deviations of the slice's features and labels (elsewhere also .01)."""
    candidates: Literal["slice", "window"] = "slice"
    """Frames among which neighbours are sought: of the slice (ULDA), or of its window, which TNS draws from [U]."""
    spread: Literal["candidates", "video"] = "candidates"
    """Frames whose deviation scales the noise [U]. A frame that is alone in its slice is doubled with `candidates`."""
    gradient: Literal["detach", "reparam"] = "detach"
    """Whether a new sample is data (`detach`, as with TNS) or passes gradients on to the frames it is made of [U]."""


class SliceSmogn:
    """SMOGN on a chunk."""

    def __init__(
        self, config: Config, videos: Sequence[ItemDistribution], target_R: Tensor, device: torch.device
    ) -> None:
        self.config, self.target_R = config, target_R
        self._bases = SliceBases(videos, config.candidates, device)
        self.needs: list[NDArray[np.float64]] = self._bases.needs
        self._lengths = [len(video.bin) for video in videos]
        self._lowest_Q, self._highest_Q = label_limits(target_R, self._lengths)[self._bases.video_Q].unbind(dim=1)

    def draw(self, feature_Rd: Tensor, generator: torch.Generator) -> Samples:
        """See `Sampler.draw`.

        Args:
            feature_Rd: features of the chunk's rows.
            generator: on the same device.
        """
        config, bases, y_R = self.config, self._bases, self.target_R
        f_Rd = feature_Rd.detach() if config.gradient == "detach" else feature_Rd
        i_Q = bases.draw(generator)
        uniform_2Q = torch.rand(2, len(i_Q), generator=generator, device=i_Q.device, dtype=torch.float64)
        normal_Qd = torch.randn(len(i_Q), f_Rd.shape[1] + 1, generator=generator, device=f_Rd.device, dtype=f_Rd.dtype)
        pairs = pair(None, bases.range_R2[i_Q])
        near = draw_neighbour(exact_distances(feature_Rd, i_Q, pairs), i_Q, pairs, config.k, uniform_2Q[0])
        between_Q = near.distance_Q < near.median_Q / 2

        # with one u for all dimensions d_i = u D and d_j = (1 - u) D, so the label lies at u between the two as well
        u_Q, j_Q = uniform_2Q[1], near.row_Q
        between_Qd = torch.lerp(f_Rd[i_Q], f_Rd[j_Q], u_Q[:, None].to(f_Rd.dtype))
        label_between_Q = torch.lerp(y_R[i_Q], y_R[j_Q], u_Q.to(y_R.dtype))
        noise_Qd = normal_Qd * (near.median_Q / 2).clamp(max=config.pert)[:, None]
        deviation_Qd, deviation_Q = self._deviation(feature_Rd.detach(), i_Q, pairs)
        around_Qd = f_Rd[i_Q] + noise_Qd[:, :-1] * deviation_Qd
        label_around_Q = y_R[i_Q] + noise_Qd[:, -1].to(y_R.dtype) * deviation_Q
        label_around_Q = label_around_Q.clamp(self._lowest_Q, self._highest_Q)
        return Samples(
            torch.where(between_Q[:, None], between_Qd, around_Qd),
            torch.where(between_Q, label_between_Q, label_around_Q),
            bases.bin_Q,
            bases.video_Q,
        )

    def _deviation(self, feature_Rd: Tensor, i_Q: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Deviations of features [Q, d] and labels [Q] that scale the noise."""
        if self.config.spread == "candidates":
            return spread(feature_Rd, i_Q, pairs), spread(self.target_R, i_Q, pairs)
        video_Q = self._bases.video_Q
        feature_Vd = torch.stack([_deviation(f_Td) for f_Td in feature_Rd.split(self._lengths)])
        label_V = torch.stack([_deviation(y_T) for y_T in self.target_R.split(self._lengths)])
        return feature_Vd[video_Q], label_V[video_Q]


def _deviation(value_T: Tensor) -> Tensor:
    """The standard deviation over time, n - 1 below; 0 of one frame."""
    return value_T.std(dim=0, correction=min(1, len(value_T) - 1))


def build(config: Config, videos: Sequence[ItemDistribution], target_R: Tensor, device: torch.device) -> SliceSmogn:
    """The sampler of a chunk.

    Args:
        config: the settings.
        videos: label distributions and plans of the chunk's videos, in the order of their rows.
        target_R: labels of the chunk's rows, on `device`.
        device: where features will be.
    """
    return SliceSmogn(config, videos, target_R, device)
