"""Resampling a chunk's frames by domain (normal, rare low, rare high): what SmoteR and REBAGG share.

The encoder sees whole videos whatever is sampled, so resampling decides what enters the loss: how often each frame
counts, and which new samples are made. A domain with a ratio below 1 keeps that share of its frames, picked at random;
one with a ratio above 1 keeps all and gets new samples for the rest. In shapes: R rows, G groups (the frames of one
video in one domain), Q new samples, b bins.
"""

# ruff: noqa: N815 - fields carry their shape

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from utopia.distribution.item import ItemDistribution
from utopia.errors import ConfigError
from utopia.samplers._common import Samples
from utopia.samplers._neighbours import draw_neighbour, label_limits, pair, quick_distances, spread
from utopia.samplers._relevance import Float, Population, Scope
from utopia.samplers._slices import pick

Fill = Literal["smoter", "noise", "duplicate"]


def populations(
    videos: Sequence[ItemDistribution], target_R: Tensor, scope: Scope, threshold: float, labels: Sequence[Float] | None
) -> list[Population]:
    """The statistics that each video of the chunk belongs to.

    Raises:
        ConfigError: they are those of the training set, and its labels are not given.
    """
    if scope == "per_video":
        own = target_R.detach().cpu().double().split([len(video.bin) for video in videos])
        return [Population.of(label_T.numpy(), threshold) for label_T in own]
    if labels is None:
        raise ConfigError(
            "the sampler knows only the labels of its chunk, and is to use statistics of the training set",
            remedy="set `scope: per_video` of this sampler",
        )
    pooled = Population.of(np.concatenate([np.asarray(label_T, dtype=np.float64) for label_T in labels]), threshold)
    return [pooled] * len(videos)


@dataclass(frozen=True)
class Draws:
    """What chance decides in a pass."""

    base_Q: Tensor
    range_Q2: Tensor
    """The group of the base, as a range of `Resampler.list_R`."""
    chance_Q: Tensor
    u_Q: Tensor
    count_R: Tensor
    noise: Tensor | None


class FrameResampler:
    """The frames of a chunk by video and domain."""

    def __init__(
        self, videos: Sequence[ItemDistribution], target_R: Tensor, threshold: float, population: Sequence[Population]
    ) -> None:
        device, label_R = target_R.device, target_R.detach().cpu().double().numpy()
        ends = np.cumsum([len(video.bin) for video in videos])
        parts = np.split(label_R, ends[:-1])
        domains = [one.relevance.domain(part, threshold) for one, part in zip(population, parts, strict=True)]
        group_R = np.concatenate([3 * number + domain_T for number, domain_T in enumerate(domains)])
        self.size_G = np.bincount(group_R, minlength=3 * len(videos))
        self.bin_R = torch.as_tensor(np.concatenate([video.bin for video in videos]), device=device)
        self.target_R = target_R
        self._limits_V2 = label_limits(target_R, [len(video.bin) for video in videos])
        self.list_R = torch.as_tensor(np.argsort(group_R, kind="stable"), device=device)
        """Rows by group."""
        self._group_R = torch.as_tensor(group_R, device=device)
        last_G = np.cumsum(self.size_G)
        self._range_G2 = torch.as_tensor(np.stack([last_G - self.size_G, last_G], axis=1), device=device)
        share_Gb = np.zeros((3 * len(videos), len(videos[0].count)))
        np.add.at(share_Gb, (group_R, np.concatenate([video.bin for video in videos])), 1)
        self._share_Gb = share_Gb / np.maximum(1, self.size_G)[:, None]

    def new(self, ratio_G: Float) -> NDArray[np.int64]:
        """New samples of each group [G], for its ratio."""
        return np.rint(np.maximum(0, ratio_G - 1) * self.size_G).astype(np.int64)

    def needs(self, ratio_G: Float) -> list[Float]:
        """New samples by video, per bin [b]: bases are drawn uniformly from their group."""
        new_Gb = self.new(ratio_G)[:, None] * self._share_Gb
        return list(new_Gb.reshape(-1, 3, new_Gb.shape[1]).sum(axis=1))

    def choose(self, ratio_G: Float, generator: torch.Generator, width: int, fill: Fill) -> Draws:
        """Decide which frames count and where new samples start.

        Args:
            ratio_G: of each group.
            generator: on the same device.
            width: d.
            fill: with `noise`, noise is drawn as well.
        """
        device = self.list_R.device
        kept_G = np.rint(np.minimum(1, ratio_G) * self.size_G).astype(np.int64)
        order_R = torch.rand(len(self.list_R), generator=generator, device=device).argsort()
        order_R = order_R[self._group_R[order_R].argsort(stable=True)]
        place_R = torch.arange(len(order_R), device=device) - self._range_G2[self._group_R[order_R], 0]
        count_R = torch.zeros(len(order_R), device=device)
        count_R[order_R] = (place_R < torch.as_tensor(kept_G, device=device)[self._group_R[order_R]]).float()

        group_Q = torch.as_tensor(np.repeat(np.arange(len(self.size_G)), self.new(ratio_G)), device=device)
        range_Q2 = self._range_G2[group_Q]
        uniform_3Q = torch.rand(3, len(group_Q), generator=generator, device=device, dtype=torch.float64)
        first_Q, last_Q = range_Q2.unbind(dim=1)
        base_Q = self.list_R[first_Q + pick(uniform_3Q[0], last_Q - first_Q)]
        noise = torch.randn(len(group_Q), width + 1, generator=generator, device=device) if fill == "noise" else None
        return Draws(base_Q, range_Q2, uniform_3Q[1], uniform_3Q[2], count_R, noise)

    def make(self, choice: Draws, feature_Rd: Tensor, fill: Fill, k: int, pert: float) -> Samples:
        """Make the new samples.

        `smoter`: x_i + u (x_j - x_i) with one of the k nearest frames j of the group, and the label at u between theirs
        (which is the mean of both, weighed by the distance to the other). `noise`: Gaussian around the base, with
        `pert` times the group's deviation, label included. `duplicate`: the base again.
        """
        i_Q, y_R = choice.base_Q, self.target_R
        x_Qd, y_Q, video_Q = feature_Rd[i_Q], y_R[i_Q], self._group_R[i_Q] // 3
        if fill != "duplicate":
            pairs = pair(self.list_R, choice.range_Q2)
            if choice.noise is not None:
                noise = pert * choice.noise
                x_Qd = x_Qd + noise[:, :-1].to(x_Qd.dtype) * spread(feature_Rd.detach(), i_Q, pairs)
                y_Q = y_Q + noise[:, -1].to(y_Q.dtype) * spread(y_R, i_Q, pairs)
                y_Q = y_Q.clamp(*self._limits_V2[video_Q].unbind(dim=1))
            else:
                distance_P = quick_distances(feature_Rd, i_Q, pairs)
                j_Q = draw_neighbour(distance_P, i_Q, pairs, k, choice.chance_Q).row_Q
                x_Qd = torch.lerp(x_Qd, feature_Rd[j_Q], choice.u_Q[:, None].to(x_Qd.dtype))
                y_Q = torch.lerp(y_Q, y_R[j_Q], choice.u_Q.to(y_Q.dtype))
        return Samples(x_Qd, y_Q, self.bin_R[i_Q], video_Q, choice.count_R)
