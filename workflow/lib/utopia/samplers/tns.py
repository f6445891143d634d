"""Time-slice Normal Sampling (TNS): new samples for bins that are short, from Gaussians over time slices (ULDA sec.
3.3).

For each sample that a bin lacks, a slice of that bin is picked with a probability proportional to its length (Eq. 3).
With the weights c_i of its window (Eqs. 4 and 5) the features f_i of the window have mean mu = sum c_i f_i and
covariance Sigma = sum c_i (f_i - mu)(f_i - mu)^T (Eq. 6), and the sample is one draw from N(mu, Sigma). The covariance
has rank 9 at T = 10 in 128 dimensions, so no Cholesky factor exists; but mu + sum_i sqrt(c_i) e_i (f_i - mu) with e_i ~
N(0, 1) has exactly this distribution. With a_i = sqrt(c_i) e_i that is one weighted sum of the window's features: sum_i
(c_i (1 - sum_j a_j) + a_i) f_i.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from utopia.config.base import Strict
from utopia.distribution.item import ItemDistribution
from utopia.distribution.plan import needed_samples, shortage
from utopia.samplers._common import Samples


class Config(Strict):
    """Time-slice Normal Sampling: new samples for bins that are short, drawn over time slices (ULDA Eqs. 3 to 6)."""

    window: int = Field(10, ge=1, le=1_000_000)
    """T: slices shorter than this are extended to a window of T frames."""
    rounding: Literal["half_even", "floor", "ceil", "stochastic"] = "half_even"
    """How n~ - n becomes a number of samples; `stochastic` rounds again in each pass, right on average [U]."""
    gradient: Literal["detach", "reparam"] = "detach"
    """Whether a new sample is data (`detach`) or passes gradients on to the features it was drawn from [U]."""
    similarity: Literal["euclidean", "cosine"] = "euclidean"
    """How near a sample is to a frame, whose label it takes over [U]."""
    candidates: Literal["slice", "window"] = "slice"
    """Frames whose label a sample may take over; those of the window may lie in another bin [U]."""
    covariance: Literal["low_rank", "jitter", "diagonal"] = "low_rank"
    """The exact covariance; with `jitter` added to its diagonal; or its diagonal alone [U]."""
    jitter: float = Field(1e-6, gt=0)
    """Variance added with `covariance: jitter`."""
    allocation: Literal["every_pass", "frozen"] = "every_pass"
    """Whether slices are picked again in each forward pass or once [U]."""


class TimeSliceSampler:
    """TNS on a chunk. S slices and L frames of the longest window of bins that are short; G pairs of a video and such a
    bin.
    """

    def __init__(
        self, config: Config, videos: Sequence[ItemDistribution], target_R: Tensor, device: torch.device
    ) -> None:
        self.config, self.target_R = config, target_R
        self.needs: list[NDArray[np.float64]] = []
        table = _Table()
        for number, video in enumerate(videos):
            short_b = shortage(video.own_count, video.count, video.utopia_count)
            self.needs.append(
                short_b
                if config.rounding == "stochastic"
                else needed_samples(short_b, config.rounding).astype(np.float64)
            )
            table.add(number, video, self.needs[-1])

        def tensor(value: Sequence[int] | NDArray[np.int64]) -> Tensor:
            return torch.as_tensor(np.asarray(value, dtype=np.int64), device=device)

        self._need_G = torch.as_tensor(table.samples_needed, dtype=torch.float64, device=device)
        self._bin_G, self._video_G = tensor(table.bin), tensor(table.video)
        self._first_G, self._size_G = tensor(table.first), tensor(table.size)
        self._slice_F = tensor(table.slice_of_frame)
        window_S2, slice_S2 = table.stacked(table.window), table.stacked(table.slice)
        width = int((window_S2[:, 1] - window_S2[:, 0]).max(initial=0))
        weight_SL = np.zeros((len(window_S2), width))
        for row, weight_L in zip(weight_SL, table.coefficient, strict=True):
            row[: min(width, len(weight_L))] = weight_L[:width]
        self._weight_SL = torch.as_tensor(weight_SL, dtype=torch.float32, device=device)
        # padding of a window points at the chunk's last row, with weight 0
        index_SL = np.minimum(window_S2[:, :1] + np.arange(width), len(target_R) - 1)
        self._index_SL = tensor(index_SL)
        self._candidate_S2 = tensor(slice_S2 if config.candidates == "slice" else window_S2)
        self._row_R = torch.arange(len(target_R), device=device)
        self._fixed_G = None if config.rounding == "stochastic" else self._groups(self._need_G)
        self._seed: int | None = None
        self._frozen: tuple[Tensor, Tensor] | None = None

    def seed_once(self, common: int, own: int) -> None:
        """See `utopia.samplers._common.SeededOnce`; what `allocation: frozen` freezes."""
        self._seed, self._frozen = own, None

    def draw(self, feature_Rd: Tensor, generator: torch.Generator) -> Samples:
        """See `Sampler.draw`.

        Args:
            feature_Rd: features of the chunk's rows.
            generator: on the same device.
        """
        group_Q, slice_Q = self._allocate(generator)
        feature_Qd = self._gauss(slice_Q, feature_Rd, generator)
        row_Q = self._nearest(slice_Q, feature_Qd.detach(), feature_Rd.detach())
        return Samples(feature_Qd, self.target_R[row_Q], self._bin_G[group_Q], self._video_G[group_Q])

    def _allocate(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The group and the slice of every new sample (Eq. 3): the slice that holds a frame drawn uniformly from the
        bin.
        """
        if self._frozen is not None:
            return self._frozen
        if self.config.allocation == "frozen" and self._seed is not None:
            generator = torch.Generator(generator.device).manual_seed(self._seed)
        if self._fixed_G is None:
            chance_G = torch.rand(
                len(self._need_G), generator=generator, device=self._need_G.device, dtype=torch.float64
            )
            group_Q = self._groups((self._need_G + chance_G).floor())
        else:
            group_Q = self._fixed_G
        uniform_Q = torch.rand(len(group_Q), generator=generator, device=group_Q.device, dtype=torch.float64)
        size_Q = self._size_G[group_Q]
        frame_Q = torch.minimum((uniform_Q * size_Q).long(), size_Q - 1)
        slice_Q = self._slice_F[self._first_G[group_Q] + frame_Q]
        if self.config.allocation == "frozen":
            self._frozen = group_Q, slice_Q
        return group_Q, slice_Q

    def _gauss(self, slice_Q: Tensor, feature_Rd: Tensor, generator: torch.Generator) -> Tensor:
        """One draw from N(mu, Sigma) of each slice's window (Eq. 6)."""
        config = self.config
        feature_Rd = feature_Rd.detach() if config.gradient == "detach" else feature_Rd
        if not len(slice_Q):
            return feature_Rd[:0]
        index_QL, c_QL = self._index_SL[slice_Q], self._weight_SL[slice_Q].to(feature_Rd.dtype)
        if config.covariance == "diagonal":
            mu_Qd = _weighted_sum(index_QL, c_QL, feature_Rd)
            variance_Qd = _weighted_sum(index_QL, c_QL, feature_Rd.square()) - mu_Qd.square()
            return mu_Qd + variance_Qd.clamp(min=0).sqrt() * _normal(mu_Qd, generator)
        a_QL = c_QL.sqrt() * _normal(c_QL, generator)
        new_Qd = _weighted_sum(index_QL, c_QL * (1 - a_QL.sum(dim=1, keepdim=True)) + a_QL, feature_Rd)
        return new_Qd + config.jitter**0.5 * _normal(new_Qd, generator) if config.covariance == "jitter" else new_Qd

    def _nearest(self, slice_Q: Tensor, new_Qd: Tensor, feature_Rd: Tensor) -> Tensor:
        """The row of the most similar frame among the candidates of each sample's slice."""
        if self.config.similarity == "cosine":
            distance_QR = -(new_Qd @ functional.normalize(feature_Rd, dim=1).T)
        else:  # |f|^2 - 2 f.f_new orders frames as |f - f_new|^2 does
            distance_QR = torch.addmm(feature_Rd.square().sum(dim=1), new_Qd, feature_Rd.T, alpha=-2)
        first_Q, last_Q = self._candidate_S2[slice_Q].unbind(dim=1)
        outside_QR = (self._row_R < first_Q[:, None]) | (self._row_R >= last_Q[:, None])
        return distance_QR.masked_fill_(outside_QR, torch.inf).argmin(dim=1)

    def _groups(self, need_G: Tensor) -> Tensor:
        return torch.repeat_interleave(torch.arange(len(need_G), device=need_G.device), need_G.long())


class _Table:
    """The slices of all bins that are short, over the videos of a chunk; frames are counted through the chunk."""

    def __init__(self) -> None:
        self.samples_needed: list[float] = []
        self.bin: list[int] = []
        self.video: list[int] = []
        self.first: list[int] = []
        self.size: list[int] = []
        self.slice_of_frame: list[int] = []
        self.slice: list[NDArray[np.int64]] = []
        self.window: list[NDArray[np.int64]] = []
        self.coefficient: list[NDArray[np.float64]] = []
        self._offset = 0

    def add(self, number: int, video: ItemDistribution, need_b: NDArray[np.float64]) -> None:
        for k in np.flatnonzero(need_b):
            self.samples_needed.append(float(need_b[k]))
            self.bin.append(int(k))
            self.video.append(number)
            self.first.append(len(self.slice_of_frame))
            for s in np.flatnonzero(video.slice_bin == k):
                start, stop = video.slice[s]
                first, last = video.window[s]
                self.slice_of_frame += [len(self.slice)] * int(stop - start)
                self.slice.append(video.slice[s] + self._offset)
                self.window.append(video.window[s] + self._offset)
                self.coefficient.append(video.coefficient[s, : last - first])
            self.size.append(len(self.slice_of_frame) - self.first[-1])
        self._offset += len(video.bin)

    @staticmethod
    def stacked(ranges: list[NDArray[np.int64]]) -> NDArray[np.int64]:
        return np.stack(ranges) if ranges else np.zeros((0, 2), dtype=np.int64)


def _weighted_sum(index_QL: Tensor, weight_QL: Tensor, feature_Rd: Tensor) -> Tensor:
    """sum_l weight[q, l] feature[index[q, l]], without holding the [Q, L, d] features."""
    return functional.embedding_bag(index_QL, feature_Rd, mode="sum", per_sample_weights=weight_QL)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def build(
    config: Config, videos: Sequence[ItemDistribution], target_R: Tensor, device: torch.device
) -> TimeSliceSampler:
    """The sampler of a chunk.

    Args:
        config: the settings.
        videos: label distributions and plans of the chunk's videos, in the order of their rows.
        target_R: labels of the chunk's rows, on `device`.
        device: where features will be.
    """
    return TimeSliceSampler(config, videos, target_R, device)
